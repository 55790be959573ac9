"""A cleanup that got no answer may come to pass at any time until it cannot any longer."""

from datetime import timedelta

from django.db.models.functions import Now
from pytest_django import Settings

from registry.models import Registration
from registry.states import RegistrationState, Step
from sync import connect, transitions
from sync.outbox import claim, settle
from sync.steps import plan
from sync.steps.push import pair
from tests.sandbox_process import World

USER = {"id": "anna", "email": "anna@example.com"}


def test_one_that_comes_to_pass_after_the_next_registration_costs_nothing(world: World, settings: Settings) -> None:
    settings.TOKENHUB_CALL_DEADLINE = timedelta(seconds=1)
    settings.TOKENHUB_CLEANUP_ECHO = timedelta(seconds=9)
    connect.http.cache_clear()
    anna = world.contact(emailaddress1="anna@example.com")
    registered = Registration.objects.filter(state=RegistrationState.REGISTERED)
    world.server.launch(user=USER)
    world.work_until(registered.exists)
    world.microsoft.add_fault("cleanup", delay=7.5)  # a slow machine needs its time to register in between
    world.server.launch(user=None)
    world.work_until(lambda: world.held() == set())
    world.server.launch(user=USER)
    world.work_until(registered.exists)
    world.work_until(lambda: not Registration.objects.filter(due_at__isnull=False).exists(), timeout=30)
    assert [effect.outcome for effect in world.microsoft.effects()].count("Removed") == 2
    assert world.held() == {(anna, "token-1")}


def test_so_may_one_whose_worker_was_killed(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=USER)
    world.work_until(lambda: world.server.state() == "registered")
    world.mobile.post("devices/phone-1/sign-out")
    plan.run_batch()
    assert claim(world.app, Step.CLEANUP).rows  # and nothing more is heard of it
    Registration.objects.update(due_at=Now())
    world.server.launch(user=USER)
    world.work_until(lambda: world.server.state() == "registered")
    row = Registration.objects.get()
    assert row.due_at is not None
    assert row.due_at == row.cleanup_echo_until
    Registration.objects.update(due_at=Now(), cleanup_echo_until=Now())  # and nothing can come to pass any more
    world.work_until(lambda: not Registration.objects.filter(due_at__isnull=False).exists())
    assert world.held() == {(anna, "token-1")}
    assert len(world.microsoft.calls("register_batch")) == 3


def test_so_may_one_whose_answer_came_after_its_lease(world: World, settings: Settings) -> None:
    """Its worker hung between the look at its lease and the call: the cleanup meets what was registered since."""
    settings.TOKENHUB_CLEANUP_ECHO = timedelta(seconds=2)
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=USER)
    world.work_until(lambda: world.server.state() == "registered")
    world.mobile.post("devices/phone-1/sign-out")
    plan.run_batch()
    late = claim(world.app, Step.CLEANUP).rows
    Registration.objects.update(due_at=Now())
    world.work_until(lambda: world.held() == set() and Registration.objects.get().state == "retired")
    world.server.launch(user=USER)
    world.work_until(lambda: world.server.state() == "registered")
    world.microsoft.settings(cleanup_delay=1.0)
    connect.cij(world.app).clean_up_one(pair(late[0]))
    settle(late, lambda row, now: transitions.cleanup_accepted(row, now, settings.TOKENHUB_CLEANUP_SETTLING))
    world.work_until(lambda: not Registration.objects.filter(due_at__isnull=False).exists())
    assert [effect.outcome for effect in world.microsoft.effects("cleanup")].count("Removed") == 2
    assert world.held() == {(anna, "token-1")}
