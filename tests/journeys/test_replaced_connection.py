"""An app gets another connection: everything ends registered under the new one, and cleaned up under the old."""

import io
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from registry.models import Device, MobileApp, Pause, Registration, ReplacedConnection
from registry.services.connections import replace_connection
from registry.services.purge import purge
from registry.states import Step
from sync import pauses, tasks
from sync.alerts import open_alerts
from sync.clients.errors import Denied
from sync.outbox import claim
from sync.steps import confirm, plan, push, relay, replace
from tests.journeys.test_outages import launch
from tests.races import uncommitted
from tests.sandbox_process import API_TOKEN, World

ANNA = {"id": "anna", "email": "anna@example.com"}
BERT = {"id": "bert", "email": "bert@example.com"}


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def replaced(world: World, **ids: str) -> str:
    """Another connection, known to CI-J, in place of the app's; return its mobile app id. `world.app` is what a worker
    has read before."""
    new = {"org_id": str(uuid.uuid4()), "mobile_app_id": str(uuid.uuid4()), **ids}
    world.microsoft.put_app(new["org_id"], new["mobile_app_id"], API_TOKEN)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in new.items()]
    run("replace_connection", "--app", "shop", "--api-token", API_TOKEN, *options)
    return new["mobile_app_id"]


def old_id(world: World) -> str:
    return str(world.app.mobile_app_id)


def held(world: World, mobile_app_id: str) -> set[tuple[str, str]]:
    return {(row.user_id, row.token) for row in world.microsoft.held(mobile_app_id)}


def registered(world: World) -> str:
    """Anna's phone, registered; return her contact."""
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    world.work_until(lambda: world.held() == {(anna, "token-1")} and world.server.state() == "registered")
    return anna


def silent(world: World, **fault: Any) -> None:
    """The old connection answers no cleanup."""
    for kind in ("cleanup", "cleanup_batch"):
        world.microsoft.add_fault(kind, times=None, app=old_id(world), **(fault or {"status": 500}))


def answers_again(world: World) -> None:
    world.microsoft.clear_faults()
    Pause.objects.all().delete()
    Registration.objects.filter(due_at__isnull=False, in_flight=False).update(due_at=timezone.now())


def over(slug: str = "shop~1") -> bool:
    return ReplacedConnection.objects.filter(slug=slug, over_at__isnull=False).exists()


def present() -> MobileApp:
    return MobileApp.objects.get(slug="shop")


@contextmanager
def in_the_air(step: Step, run_batch: Callable[[MobileApp], int], app: MobileApp) -> Iterator[None]:
    """A worker holds the lease of a batch while the block runs; its answer comes afterwards at the soonest."""

    def work() -> None:
        try:
            run_batch(app)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        while not Registration.objects.filter(step=step, in_flight=True).exists():
            assert worker.is_alive()
        yield
    finally:
        worker.join()


def test_everything_ends_registered_under_the_new_connection_and_cleaned_up_under_the_old(world: World) -> None:
    contacts = launch(world, 5)
    world.work_until(lambda: Registration.objects.filter(state="registered").count() == 5)
    everybody = {(contact, f"token-{name}") for name, contact in contacts.items()}
    new = replaced(world)
    assert "5 registrations to clean up" in run("sync_status", "--app", "shop~1")
    world.work_until(over)
    world.work_until(lambda: {world.server.state(name) for name in contacts} == {"registered"})
    assert (held(world, old_id(world)), held(world, new)) == (set(), everybody)
    assert "shop~1: connection of shop until" in run("sync_status")
    status = json.loads(run("sync_status", "--app", "shop~1", "--json"))["apps"][0]["replaced"]
    assert (status["registrations_left"], status["events_left"], status["written_off"]) == (0, 0, 0)
    # Keys, users and devices are those that they were, and from now on there is only the new one.
    world.server.launch(installation_id="u0", token="another", user={"id": "u0"})
    world.work_until(
        lambda: held(world, new) == everybody - {(contacts["u0"], "token-u0")} | {(contacts["u0"], "another")}
    )
    assert held(world, old_id(world)) == set()


def test_a_registration_that_is_in_the_air_is_settled_and_cleaned_up_where_it_was_sent(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    world.microsoft.add_fault("register_batch", answer_delay=1)
    with in_the_air(Step.PUSH, push.run_batch, world.app):
        new = replaced(world)
    row = Registration.objects.get()
    assert (row.app.slug, row.state, row.desired) == ("shop~1", "sent", False)
    world.work_until(over)
    world.work_until(lambda: world.server.state() == "registered")
    assert (held(world, old_id(world)), held(world, new)) == (set(), {(anna, "token-1")})


def test_nothing_more_is_registered_under_the_old_connection(world: World) -> None:
    world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    replaced(world)
    tasks.STEPS["push"]()
    assert world.microsoft.calls("register_batch") == []


def test_what_is_in_the_air_keeps_its_lease(world: World) -> None:
    world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    [row] = claim(world.app, Step.PUSH).rows
    replaced(world)
    assert Registration.objects.get().due_at == row.due_at
    assert claim(MobileApp.objects.get(slug="shop~1"), Step.CLEANUP).rows == []


def test_so_is_one_whose_worker_was_killed(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    world.microsoft.add_fault("register_batch", drop_connection="after")
    push.run_batch(world.app)
    Registration.objects.update(in_flight=True)  # as it stands where nobody lives to write the answer down
    new = replaced(world)
    world.microsoft.wait_until_idle()
    assert held(world, old_id(world)) == {(anna, "token-1")}
    Registration.objects.update(due_at=timezone.now())  # the lease ran out
    world.work_until(lambda: world.server.state() == "registered" and held(world, old_id(world)) == set())
    assert held(world, new) == {(anna, "token-1")}
    assert not over()  # until the send that nobody knows of cannot come to pass any more
    Registration.objects.filter(app__slug="shop~1").update(due_at=timezone.now(), unanswered_until=timezone.now())
    world.work_until(over)


def test_a_worker_that_knows_the_old_connection_claims_nothing_afterwards(world: World) -> None:
    world.contact(emailaddress1="anna@example.com")
    replaced(world)
    world.server.launch(user=ANNA)
    event = {"tracking_id": str(uuid.uuid4()), "status": "opened", "installation_id": "phone-1"}
    world.mobile.post("events", event)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    assert (push.run_batch(world.app), relay.run_batch(world.app)) == (0, 0)
    assert (push.run_batch(present()), relay.run_batch(present())) == (1, 1)
    assert held(world, old_id(world)) == set()


def test_nothing_is_claimed_while_the_rows_move(world: World) -> None:
    world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    ids: dict[str, Any] = {"org_id": uuid.uuid4(), "mobile_app_id": uuid.uuid4()}
    with uncommitted(lambda: replace_connection(world.app, api_token=API_TOKEN, **ids)):
        tasks.STEPS["map"]()  # it comes after what moves was looked for, so it stays: it is for the new connection
        assert claim(world.app, Step.PUSH).rows == []
    assert [row.app.slug for row in Registration.objects.all()] == ["shop"]
    assert len(claim(present(), Step.PUSH).rows) == 1


def test_an_answer_about_the_old_connection_does_not_rest_the_new_one(world: World, settings: Settings) -> None:
    settings.TOKENHUB_DRY_RUN_WAVE = 1
    world.contact(emailaddress1="anna@example.com")
    world.microsoft.set_outcomes({"token-1": ["DryRunSendingFailed", "Success"]})
    world.server.launch(user=ANNA)
    world.work_until(lambda: Registration.objects.filter(state="sent").exists())
    Registration.objects.update(due_at=timezone.now())
    world.microsoft.wait_until_idle()
    world.microsoft.add_fault("status", answer_delay=1)
    with in_the_air(Step.CONFIRM, confirm.run_batch, world.app):
        replaced(world)
    pauses.rest(world.app, Denied("HTTP 401"))
    assert Registration.objects.get().state == "failed"
    assert not Pause.objects.exists()
    world.work_until(lambda: world.server.state() == "registered")


def test_a_pause_of_the_old_connection_stays_with_it(world: World) -> None:
    pauses.rest(world.app, Denied("HTTP 401"))
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    new = replaced(world)
    world.work_until(lambda: held(world, new) == {(anna, "token-1")})
    assert Pause.objects.get().app == MobileApp.objects.get(slug="shop~1")
    assert "manage.py abandon_connection --app shop~1" in open_alerts()[0].to_do


def test_the_same_user_does_not_wait_for_the_old_connection(world: World) -> None:
    anna = registered(world)
    silent(world)
    new = replaced(world)
    world.work_until(lambda: held(world, new) == {(anna, "token-1")})
    assert held(world, old_id(world)) == {(anna, "token-1")}


def test_a_phone_that_changes_hands_meanwhile_waits_for_the_cleanup_under_the_old_one(world: World) -> None:
    registered(world)
    silent(world)
    new = replaced(world)
    bert = world.contact(emailaddress1="bert@example.com")
    world.server.launch(user=BERT)
    world.work_until(lambda: Registration.objects.filter(dataverse_id=bert).exists())
    world.work_for(1)
    assert held(world, new) == set()  # the phone would show Bert what the old connection sends to Anna
    answers_again(world)
    world.work_until(lambda: held(world, new) == {(bert, "token-1")})
    removed, stored = [
        next(effect.seq for effect in world.microsoft.effects(kind) if effect.mobile_app_id == where)
        for kind, where in (("cleanup", old_id(world)), ("register", new))
    ]
    assert removed < stored


def test_what_a_phone_in_other_hands_has_under_the_old_one_is_cleaned_up_first(world: World) -> None:
    registered(world)
    replaced(world)
    replace.run_batch()
    plan.run_batch()
    old = Registration.objects.filter(app__slug="shop~1")
    assert not old.get().urgent  # the phone is still hers
    world.mobile.post("devices/phone-1/sign-out")
    plan.run_batch()
    assert old.get().urgent


def test_events_that_were_not_relayed_go_to_the_connection_whose_message_it_was(world: World) -> None:
    registered(world)
    world.microsoft.add_fault("event", status=500)
    tracking_id = str(uuid.uuid4())
    world.mobile.post("events", {"tracking_id": tracking_id, "status": "opened", "installation_id": "phone-1"})
    tasks.STEPS["relay"]()
    replaced(world)
    world.work_until(over)
    [event] = world.microsoft.events()
    assert (event.tracking_id, event.org_id) == (tracking_id, str(world.app.org_id))


@pytest.mark.parametrize("where", ["another endpoint", "back to where it was"])
def test_under_the_same_mobile_app_the_cleanup_comes_before_the_registration(
    world: World, settings: Settings, where: str
) -> None:
    settings.TOKENHUB_CLEANUP_ECHO = timedelta(seconds=3)
    anna = registered(world)
    silent(world)
    ids = {"org_id": str(world.app.org_id), "mobile_app_id": old_id(world)}
    if where == "another endpoint":
        settings.TOKENHUB_CIJ_HOST_SUFFIXES = ["127.0.0.1"]
        replaced(world, **ids, endpoint=world.microsoft.url.replace("localhost", "127.0.0.1"))
    else:
        replaced(world)
        replaced(world, **ids)
    world.work_for(1)
    assert [effect.outcome for effect in world.microsoft.effects() if effect.mobile_app_id == old_id(world)] == [
        "Success"
    ]
    answers_again(world)
    world.work_until(lambda: world.server.state() == "registered")
    world.work_until(lambda: not Registration.objects.filter(due_at__isnull=False).exists(), timeout=30)
    effects = [effect.kind for effect in world.microsoft.effects() if effect.mobile_app_id == old_id(world)]
    assert effects == ["register", "cleanup", "register"]
    assert held(world, old_id(world)) == {(anna, "token-1")}


def test_there_it_waits_for_a_cleanup_that_may_still_come_to_pass(world: World) -> None:
    registered(world)
    ids = {"org_id": str(world.app.org_id), "mobile_app_id": old_id(world)}
    replaced(world)
    world.work_until(over)
    Registration.objects.filter(app__slug="shop~1").update(cleanup_echo_until=timezone.now() + timedelta(hours=1))
    replaced(world, **ids)
    seen = world.microsoft.summary()["seq"]
    world.work_for(1)
    assert world.microsoft.calls("register_batch", after=seen) == []
    Registration.objects.filter(app__slug="shop~1").update(cleanup_echo_until=timezone.now())
    world.work_until(lambda: world.server.state() == "registered")


def test_devices_are_marked_in_batches_while_few_wait_for_the_planner(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replace, "BATCH", 2)
    launch(world, 5)
    tasks.STEPS["plan"]()
    replaced(world)
    assert [replace.run_batch() for _ in range(3)] == [2, 0, 0]
    tasks.STEPS["plan"]()
    assert replace.run_batch() == 2
    tasks.STEPS["plan"]()
    assert (replace.run_batch(), replace.next_due()) == (1, None)
    assert Device.objects.filter(revision__gt=1).count() == 5


def test_a_connection_that_is_over_for_long_is_deleted(world: World, settings: Settings) -> None:
    registered(world)
    replaced(world)
    world.work_until(over)
    long_ago = timezone.now() - settings.TOKENHUB_PURGE_REGISTRATIONS - timedelta(days=1)
    ReplacedConnection.objects.update(over_at=long_ago)
    purge()
    assert ReplacedConnection.objects.exists()  # as long as anything stands under it
    Registration.objects.filter(app__slug="shop~1").update(desired_changed_at=long_ago, cleaned_at=long_ago)
    purge()
    purge()
    assert list(MobileApp.objects.values_list("slug", flat=True)) == ["shop"]
