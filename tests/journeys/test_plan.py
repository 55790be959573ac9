"""The planner beside phones that post, workers that are sending, and other planners."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from registry.models import Device, Registration
from registry.states import Step
from sync import tasks
from sync.outbox import claim
from sync.steps import plan
from tests.races import uncommitted
from tests.sandbox_process import World

ANNA = {"id": "anna", "email": "anna@example.com"}


@pytest.fixture
def anna(world: World) -> str:
    return world.contact(emailaddress1="anna@example.com")


def planned(world: World) -> Registration:
    """Anna's phone, found in Dataverse and planned."""
    world.server.launch(user=ANNA)
    tasks.STEPS["map"]()
    return Registration.objects.get()


@pytest.fixture
def marked(world: World, anna: str) -> str:
    """A phone of nobody's that waits for the planner, beside a tablet of Anna's who is mapped; return her contact."""
    world.server.launch(installation_id="tablet", token="token-2", user=ANNA)
    world.server.launch()
    world.work_until(lambda: world.held() == {(anna, "token-2")})
    Device.objects.filter(installation_id="phone-1").update(revision=F("revision") + 1)
    return anna


def test_a_change_that_is_not_committed_yet_is_planned_when_it_is(world: World, marked: str) -> None:
    with uncommitted(lambda: world.server.launch(user=ANNA)):
        plan.run_batch()
    world.work_until(lambda: world.held() == {(marked, "token-1"), (marked, "token-2")})


def test_a_change_that_comes_before_the_planner_has_the_lock_is_planned(world: World, marked: str) -> None:
    def post() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7)")
        world.server.launch(user=ANNA)

    def wait_in_the_middle(execute: Any, sql: str, *rest: Any) -> Any:
        """The statement has seen which devices there are, waits for the post, and then locks them."""
        if "SKIP LOCKED" in sql:
            sql = sql.replace(" WHERE ", " WHERE pg_advisory_xact_lock_shared(7)::text = '' AND ", 1)
        return execute(sql, *rest)

    with uncommitted(post), connection.execute_wrapper(wait_in_the_middle):
        plan.run_batch()
    world.work_until(lambda: world.held() == {(marked, "token-1"), (marked, "token-2")})


@pytest.mark.usefixtures("anna")
def test_a_phone_that_signs_out_while_its_user_is_found_is_nobody_s(world: World) -> None:
    world.server.launch(user=ANNA)
    with uncommitted(lambda: world.mobile.post("devices/phone-1/sign-out")):
        tasks.STEPS["map"]()
    world.work_for(0.3)
    assert world.held() == set()
    assert not Registration.objects.filter(desired=True).exists()


@pytest.mark.usefixtures("anna")
def test_a_registration_that_is_being_sent_keeps_its_lease_when_it_is_no_longer_desired(world: World) -> None:
    planned(world)
    [leased] = claim(world.app, Step.PUSH).rows
    world.mobile.post("devices/phone-1/sign-out")
    plan.run_batch()
    row = Registration.objects.get()
    assert (row.desired, row.due_at) == (False, leased.due_at)


def test_a_cleanup_that_is_being_sent_keeps_its_lease_when_it_is_desired_again(world: World, anna: str) -> None:
    planned(world)
    world.work_until(lambda: world.server.state() == "registered")
    world.mobile.post("devices/phone-1/sign-out")
    plan.run_batch()
    [leased] = claim(world.app, Step.CLEANUP).rows
    world.server.launch(user=ANNA)
    plan.run_batch()
    row = Registration.objects.get()
    assert (row.desired, row.due_at) == (True, leased.due_at)
    Registration.objects.update(due_at=timezone.now())
    world.work_until(lambda: world.server.state() == "registered")
    assert world.held() == {(anna, "token-1")}


@pytest.mark.usefixtures("anna")
def test_a_registration_without_an_answer_is_left_alone_for_a_while_when_it_is_no_longer_desired(world: World) -> None:
    """It may be on its way still: its cleanup must not overtake it."""
    world.microsoft.add_fault("register_batch", drop_connection="after")
    planned(world)
    tasks.STEPS["push"]()
    world.mobile.post("devices/phone-1/sign-out")
    plan.run_batch()
    row = Registration.objects.get()
    assert row.sent_at is not None
    assert row.due_at == row.sent_at + timedelta(seconds=1)  # the patience of these tests
    world.work_until(lambda: Registration.objects.filter(state="retired").exists())
    assert world.held() == set()


def test_what_another_planner_has_given_to_another_device_stays_desired(world: World, anna: str) -> None:
    """Anna's tablet took over the phone's token, and the two devices are planned at the same time."""
    planned(world)
    world.work_until(lambda: world.server.state() == "registered")
    world.server.launch(installation_id="tablet", user=ANNA)
    tablet = Device.objects.get(installation_id="tablet")
    Device.objects.filter(pk=tablet.pk).update(planned_revision=tablet.revision)
    with uncommitted(lambda: Registration.objects.update(device=tablet)):
        plan.run_batch()
    assert Registration.objects.get().desired
    world.work_for(0.3)
    assert world.held() == {(anna, "token-1")}
    assert world.server.state("tablet") == "registered"
