"""Events go to CI-J once, in time; what cannot be relayed is a dead letter, and a person's to replay or discard."""

import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from registry.models import BulkJob, EventCount, InteractionEvent, MobileApp, MobileUser, Pause
from registry.services import dead_letters, event_counts
from registry.services.event_counts import fold
from registry.states import EventState
from sync import connect
from sync.steps import bulk, hygiene, relay
from tests.people import signed_in, staff
from tests.races import in_parallel
from tests.sandbox_process import World, make_world


def report(world: World, count: int = 1, **fields: object) -> list[str]:
    """Have a phone report so many opened notifications; return their tracking ids."""
    world.server.launch()
    ids = [str(uuid.uuid4()) for _ in range(count)]
    events = [{"installation_id": "phone-1", "tracking_id": id_, "status": "opened", **fields} for id_ in ids]
    for start in range(0, count, 100):
        assert world.server.post("events", events[start : start + 100]).status_code == 202
    return ids


def states() -> dict[str, int]:
    rows = InteractionEvent.objects.values_list("state", flat=True)
    return {state: list(rows).count(state) for state in set(rows)}


def sums() -> dict[str, int]:
    while fold():
        pass
    columns = ("accepted", "relayed", "failed", "discarded", "no_consent", "unknown_device", "test_send", "waiting")
    rows = list(EventCount.objects.values(*columns))
    return {name: total for name in columns if (total := sum(row[name] for row in rows))}


def dead(world: World, count: int = 3) -> list[str]:
    """Events that CI-J refused."""
    rule = world.microsoft.add_fault("event", times=None, status=400)
    ids = report(world, count)
    world.work_until(lambda: states() == {"failed": count})
    world.microsoft.remove_fault(rule)
    return ids


def test_a_batch_is_relayed_at_once_and_each_event_once(world: World, settings: Settings) -> None:
    settings.TOKENHUB_EVENT_BATCH = 100
    ids = report(world, 250)
    while relay.run_batch(world.app):
        pass
    assert sorted(event.tracking_id for event in world.microsoft.events()) == sorted(ids)
    assert states() == {"relayed": 250}
    assert sums() == {"accepted": 250, "relayed": 250}


def test_workers_in_parallel_relay_each_event_once(world: World, settings: Settings) -> None:
    settings.TOKENHUB_EVENT_BATCH = 20
    ids = report(world, 200)

    def work(_: int) -> None:
        while relay.run_batch(world.app):
            pass

    connect.http()  # which a worker makes once, before it has threads
    assert in_parallel(4, work) == []
    assert sorted(event.tracking_id for event in world.microsoft.events()) == sorted(ids)


def test_no_more_are_in_the_air_than_the_setting_says(world: World, settings: Settings) -> None:
    settings.TOKENHUB_EVENT_CONCURRENCY = 3
    world.microsoft.add_fault("event", times=None, delay=0.3)
    report(world, 9)
    relay.run_batch(world.app)
    times = [call.at for call in world.microsoft.calls() if call.kind == "event"]
    begun = [sum(1 for other in times if at <= other < at + 0.25) for at in times]
    assert max(begun) == 3


def test_a_429_pauses_every_app_of_the_organisation_and_nothing_is_lost(world: World) -> None:
    app = world.app
    sibling = make_world(world.microsoft, app.dataverse, "sibling")
    MobileApp.objects.filter(pk=sibling.app.pk).update(org_id=app.org_id)
    other = make_world(world.microsoft, app.dataverse, "other")
    world.microsoft.add_fault("event", times=1, status=429, headers={"Retry-After": "1"})
    ids = report(world, 40)
    relay.run_batch(app)
    paused = set(Pause.objects.filter(reason="throttled").values_list("app__slug", flat=True))
    assert paused == {app.slug, "sibling"}
    assert other.app.slug not in paused
    world.work_until(lambda: states() == {"relayed": 40})
    assert sorted({event.tracking_id for event in world.microsoft.events()}) == sorted(ids)


def test_what_cannot_be_relayed_for_three_days_is_given_up_with_its_reason(world: World) -> None:
    world.microsoft.add_fault("event", times=None, status=503)
    report(world, 2)
    relay.run_batch(world.app)
    assert states() == {"ready": 2}
    InteractionEvent.objects.update(received_at=timezone.now() - timedelta(days=2, hours=23), due_at=timezone.now())
    relay.run_batch(world.app)
    assert states() == {"ready": 2}
    InteractionEvent.objects.update(received_at=timezone.now() - timedelta(days=3, minutes=1), due_at=timezone.now())
    relay.run_batch(world.app)
    assert set(InteractionEvent.objects.values_list("state", "reason", "due_at")) == {
        ("failed", "given up: HTTP 503", None)
    }
    assert sums() == {"accepted": 2, "failed": 2}


def test_an_event_is_given_up_while_its_app_rests(world: World) -> None:
    report(world)
    Pause.objects.create(app=world.app, reason="throttled", until=timezone.now() + timedelta(hours=1))
    InteractionEvent.objects.update(received_at=timezone.now() - timedelta(days=4))
    relay.run_batch(world.app)
    assert states() == {"ready": 1}
    hygiene.run_batch()
    assert set(InteractionEvent.objects.values_list("state", "reason")) == {("failed", "given up")}


def test_a_silent_far_end_costs_a_batch_a_few_calls(world: World, settings: Settings) -> None:
    settings.TOKENHUB_EVENT_CONCURRENCY = 4
    world.microsoft.add_fault("event", times=None, status=503)
    report(world, 50)
    relay.run_batch(world.app)
    assert sum(call.kind == "event" for call in world.microsoft.calls()) <= 2 * 4
    assert states() == {"ready": 50}


def test_an_event_that_was_given_up_while_it_was_in_the_air_is_relayed_after_all(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TOKENHUB_EVENT_GIVE_UP = timedelta(0)
    report(world)
    http = connect.http()
    start = http.start

    def meanwhile(calls: Any) -> Any:
        assert dead_letters.give_up() == 1
        return start(calls)

    with monkeypatch.context() as patched:
        patched.setattr(http, "start", meanwhile)
        relay.run_batch(world.app)
    assert states() == {"relayed": 1}
    assert sums() == {"accepted": 1, "relayed": 1}


def test_an_answer_that_is_no_acceptance_and_came_late_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(world)
    world.microsoft.add_fault("event", times=1, status=400)
    http = connect.http()
    start = http.start

    def meanwhile(calls: Any) -> Any:
        InteractionEvent.objects.update(claim_no=100)  # the lease was lost, and somebody else has it
        return start(calls)

    with monkeypatch.context() as patched:
        patched.setattr(http, "start", meanwhile)
        relay.run_batch(world.app)
    assert states() == {"ready": 1}


def test_dead_letters_are_replayed_and_have_three_days_again(world: World) -> None:
    ids = dead(world)
    assert set(InteractionEvent.objects.values_list("reason", flat=True)) == {"HTTP 400"}
    InteractionEvent.objects.update(received_at=timezone.now() - timedelta(days=5))
    assert dead_letters.replay(InteractionEvent.objects.all()) == 3
    assert sums() == {"accepted": 3, "waiting": 3}
    world.work_until(lambda: states() == {"relayed": 3})
    assert sorted(event.tracking_id for event in world.microsoft.events()) == sorted(ids)
    assert dead_letters.replay(InteractionEvent.objects.all()) == 0


def test_what_is_too_old_or_not_wanted_any_more_is_not_replayed(world: World) -> None:
    dead(world)
    InteractionEvent.objects.update(occurred_at=timezone.now() - timedelta(days=31))
    assert dead_letters.replay(InteractionEvent.objects.all()) == 0
    InteractionEvent.objects.update(occurred_at=timezone.now())
    world.server.launch(user={"id": "anna", "tracking_consent": False})
    assert dead_letters.replay(InteractionEvent.objects.all()) == 0
    MobileUser.objects.update(tracking_consent=True)
    assert dead_letters.replay(InteractionEvent.objects.all()) == 3


def test_discarded_dead_letters_are_counted_and_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "BATCH", 2)
    dead(world)
    steps: list[int] = []
    assert dead_letters.discard(InteractionEvent.objects.all(), steps.append) == 3
    assert steps == [2, 3]
    assert set(InteractionEvent.objects.values_list("state", "reason")) == {("not_relayed", "discarded")}
    assert sums() == {"accepted": 3, "discarded": 3}
    assert dead_letters.replay(InteractionEvent.objects.all()) == 0


def test_replays_in_parallel_do_each_once(world: World) -> None:
    dead(world, 30)
    done: list[int] = []
    assert in_parallel(3, lambda _: done.append(dead_letters.replay(InteractionEvent.objects.all()))) == []
    assert sum(done) == 30
    assert sums() == {"accepted": 30, "waiting": 30}


def test_what_an_erasure_deletes_waits_no_more(world: World) -> None:
    world.server.launch(user={"id": "anna"})
    events = [
        {"installation_id": "phone-1", "tracking_id": str(uuid.uuid4()), "status": "opened"},
        {"installation_id": "phone-1", "tracking_id": str(uuid.uuid4()), "status": "opened"},
    ]
    assert world.server.post("events", events).status_code == 202
    dead = InteractionEvent.objects.filter(pk=InteractionEvent.objects.earliest("pk").pk)
    dead.update(state=EventState.FAILED)
    event_counts.count((event, "failed", 1) for event in dead)
    assert sums() == {"accepted": 2, "failed": 1, "waiting": 1}
    assert world.server.delete("users/anna").status_code in (200, 202)
    assert sums() == {}


def test_consent_given_later_does_not_relay_the_past(world: World) -> None:
    world.server.launch(user={"id": "anna", "tracking_consent": False})
    world.server.post("events", {"installation_id": "phone-1", "tracking_id": str(uuid.uuid4()), "status": "opened"})
    world.server.launch(user={"id": "anna", "tracking_consent": True})
    world.work_for(0.5)
    assert world.microsoft.events() == []
    assert sums() == {"no_consent": 1}


def test_the_command_shows_replays_and_discards(world: World) -> None:
    dead(world)

    def run(*words: str) -> str:
        out = StringIO()
        call_command("dead_events", "--app", "shop", *words, stdout=out)
        return out.getvalue()

    assert "3" in run()
    assert "HTTP 400" in run()
    assert "0 dead letters" in run("--discard", "--reason", "given up")
    assert "3 dead letters" in run("--replay")
    assert states() == {"ready": 3}


def test_counts_of_parallel_workers_add_up(world: World) -> None:
    report(world, 100)
    relay.run_batch(world.app)
    assert in_parallel(4, lambda _: [fold() for _ in range(5)]) == []
    assert sums() == {"accepted": 100, "relayed": 100}
    assert InteractionEvent.objects.filter(state=EventState.RELAYED).count() == 100


def test_dead_letters_are_replayed_and_discarded_from_the_list(world: World) -> None:
    dead(world, 4)
    operator = signed_in(staff("olga", "operator"))
    page = "/admin/registry/interactionevent/"
    first = InteractionEvent.objects.earliest("pk")

    def act(action: str, query: str = "", **fields: Any) -> BulkJob:
        operator.post(page + query, {"action": action, "confirmed": "1", **fields})
        job = BulkJob.objects.latest("pk")
        while bulk.run_batch():
            pass
        job.refresh_from_db()
        return job

    job = act("discard", _selected_action=[str(first.pk)])
    assert (job.state, job.changed) == ("done", 1)
    job = act("replay", "?show=failed", select_across="1", _selected_action=[str(first.pk)])
    assert (job.state, job.changed) == ("done", 3)
    world.work_until(lambda: states() == {"relayed": 3, "not_relayed": 1})
    assert sums() == {"accepted": 4, "relayed": 3, "discarded": 1}


def test_who_may_only_look_neither_replays_nor_discards(world: World) -> None:
    dead(world, 1)
    viewer = signed_in(staff("vera", "viewer"))
    viewer.post(
        "/admin/registry/interactionevent/",
        {"action": "discard", "confirmed": "1", "_selected_action": [str(InteractionEvent.objects.get().pk)]},
    )
    assert not BulkJob.objects.exists()
    assert states() == {"failed": 1}
