"""Erasure: CI-J forgets first, then the data go, and a receipt without personal data stays."""

import io
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core import serializers
from django.core.management import CommandError, call_command
from django.utils import timezone

from registry.models import (
    DataverseMapping,
    Device,
    Erasure,
    InteractionEvent,
    MobileApp,
    MobileUser,
    Pause,
    Registration,
)
from registry.services.erasure import unfinished
from registry.services.errors import InvalidInput
from registry.states import Step
from sync import outbox, pauses
from sync.alerts import Kind, open_alerts
from sync.clients.errors import Denied
from sync.steps import cleanup, map, plan, push, recheck  # noqa: A004 named as the step is
from sync.steps import erase as erasures
from sync.steps.erase import look_again
from tests.races import in_parallel
from tests.sandbox_process import World

ANNA = {"id": "anna", "email": "anna@example.com"}


def command(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command(*arguments, "--json", stdout=out)
    receipt: dict[str, Any] = json.loads(out.getvalue())
    return receipt


def erase(user: str = "anna") -> dict[str, Any]:
    return command("erase_user", "--app", "shop", "--user", user)


def registered(world: World, **user: Any) -> str:
    """Anna's phone, registered; return her contact."""
    anna = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user={**ANNA, **user}, model="Pixel 9", app_version="7.1")
    world.work_until(lambda: world.held() == {(anna, "token-1")} and world.server.state() == "registered")
    return anna


def opened(world: World, **device: str) -> None:
    event = {"tracking_id": str(uuid.uuid4()), "status": "opened", **(device or {"installation_id": "phone-1"})}
    assert world.mobile.post("events", event).status_code == 202


def state(receipt: dict[str, Any]) -> str:
    return str(command("erasure", receipt["receipt"])["state"])


def everything_stored() -> str:
    models = (MobileUser, DataverseMapping, Device, Registration, InteractionEvent, Erasure)
    return str(serializers.serialize("json", (row for model in models for row in model.objects.all())))


def test_cij_accepts_the_cleanup_before_the_data_go_and_a_receipt_stays(world: World) -> None:
    anna = registered(world)
    opened(world)
    world.microsoft.add_fault("cleanup", status=500)
    receipt = erase()
    assert (receipt["state"], receipt["requested_by"], receipt["events"]) == ("waiting", "command line", 1)
    # What the cleanup does not need is gone at once; the pair that CI-J holds is not.
    assert not MobileUser.objects.exists()
    assert not DataverseMapping.objects.exists()
    assert not InteractionEvent.objects.exists()
    nameless = Device.objects.get()
    assert (nameless.user, nameless.token, nameless.model, nameless.app_version) == (None, "", "", "")
    assert world.mobile.get("devices/phone-1").status_code == 404
    assert str(Registration.objects.get().dataverse_id) == anna
    world.work_until(lambda: state(receipt) == "done")
    assert world.held() == set()
    stored = everything_stored()
    assert not [trace for trace in ("anna", "phone-1", "token-1", "Pixel", anna) if trace in stored]
    assert not Device.objects.exists()
    assert not Registration.objects.exists()
    done = command("erasure", receipt["receipt"])
    assert (done["devices"], done["registrations"], done["events"], done["not_cleaned_up"]) == (1, 1, 1, 0)
    assert done["finished_at"] is not None


def test_while_cij_does_not_answer_the_data_stay(world: World) -> None:
    anna = registered(world)
    world.microsoft.add_fault("cleanup", times=None, status=500)
    receipt = erase()
    world.work_until(lambda: Registration.objects.filter(state="retiring", attempts__gt=0).exists())
    Erasure.objects.update(due_at=timezone.now())
    world.work_for(0.5)
    assert state(receipt) == "waiting"
    assert world.held() == {(anna, "token-1")}
    world.microsoft.clear_faults()
    Registration.objects.update(due_at=timezone.now())
    world.work_until(lambda: state(receipt) == "done")
    assert world.held() == set()


def test_a_registration_whose_answer_was_lost_is_waited_for(world: World) -> None:
    world.contact(emailaddress1="anna@example.com")
    world.microsoft.add_fault("register_batch", times=None, drop_connection="after")
    world.server.launch(user=ANNA)
    world.work_until(lambda: Registration.objects.filter(undecided_until__isnull=False, in_flight=False).exists())
    receipt = erase()
    world.work_until(lambda: Registration.objects.filter(state="retired").exists())
    row = Registration.objects.get()
    assert row.unanswered_until is not None
    Erasure.objects.update(due_at=timezone.now())
    world.work_once()
    assert state(receipt) == "waiting"  # until it is cleaned up once more, when that send cannot be worked off any more
    Registration.objects.update(unanswered_until=timezone.now(), due_at=timezone.now())
    world.work_until(lambda: state(receipt) == "done")
    assert len(world.microsoft.calls("cleanup")) == 2


def test_a_user_whose_devices_never_reached_cij_is_gone_with_the_next_look(world: World) -> None:
    world.server.launch(user=ANNA)
    receipt = erase()
    world.work_until(lambda: state(receipt) == "done")
    assert world.microsoft.calls("cleanup") == []
    assert not Device.objects.exists()


def test_an_erased_user_who_comes_back_at_once_with_the_same_token_is_registered_again(world: World) -> None:
    anna = registered(world)
    receipt = erase()
    assert world.server.launch(user=ANNA).status_code == 201
    world.work_until(lambda: world.server.state() == "registered" and state(receipt) == "done")
    assert world.held() == {(anna, "token-1")}
    assert Device.objects.get().installation_id == "phone-1"


def test_an_erased_user_who_comes_back_during_the_cleanup_is_registered_after_it(world: World) -> None:
    anna = registered(world)
    receipt = erase()
    world.work_until(lambda: Registration.objects.filter(state="retiring").exists())
    world.server.launch(user=ANNA)
    world.work_until(lambda: world.server.state() == "registered" and state(receipt) == "done")
    assert [effect.kind for effect in world.microsoft.effects()] == ["register", "cleanup", "register"]
    assert world.held() == {(anna, "token-1")}


def test_another_user_on_the_erased_ones_phone_waits_for_the_cleanup(world: World) -> None:
    anna = registered(world)
    bert = world.contact(emailaddress1="bert@example.com")
    receipt = erase()
    world.server.launch(user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.held() == {(bert, "token-1")} and state(receipt) == "done")
    effects = [(effect.kind, effect.user_id) for effect in world.microsoft.effects()]
    assert effects == [("register", anna), ("cleanup", anna), ("register", bert)]


def test_of_two_users_who_are_one_contact_only_the_erased_ones_devices_go(world: World) -> None:
    anna = registered(world)
    world.server.launch(installation_id="tablet", token="token-2", user={"id": "anna-2", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1"), (anna, "token-2")})
    receipt = erase()
    world.work_until(lambda: state(receipt) == "done")
    assert world.held() == {(anna, "token-2")}
    assert world.server.state("tablet") == "registered"
    assert command("erasure", receipt["receipt"])["registrations"] == 1


def test_what_the_user_left_on_a_phone_of_somebody_else_is_waited_for_too(world: World) -> None:
    """The user signed out a moment ago: the registration is theirs, the device no longer is."""
    registered(world)
    world.mobile.post("devices/phone-1/sign-out")
    receipt = erase()
    assert Registration.objects.get().erasure_id == uuid.UUID(receipt["receipt"])
    world.work_until(lambda: state(receipt) == "done")
    assert world.held() == set()
    assert not Registration.objects.exists()
    assert world.server.state() == "no_user"


def test_events_of_the_erased_go_wherever_they_came_from_and_whenever(world: World) -> None:
    opened(world, token="token-1")  # before the device was known
    opened(world, token="somebody-elses")
    registered(world)
    opened(world)
    receipt = erase()
    assert receipt["events"] == 2
    assert InteractionEvent.objects.get().token == "somebody-elses"


def test_an_unknown_user_is_told(world: World) -> None:
    with pytest.raises(CommandError, match="--user: The app shop knows no user of that id"):
        erase("nobody")
    assert not Erasure.objects.exists()


# --- the end by force -------------------------------------------------------------------------------------------------


def test_a_forced_end_needs_a_note_and_says_what_cij_may_still_hold(world: World) -> None:
    anna = registered(world)
    world.microsoft.add_fault("cleanup", times=None, status=500)
    receipt = erase()
    world.work_until(lambda: Registration.objects.filter(state="retiring", attempts__gt=0).exists())
    with pytest.raises(CommandError, match="--note: Say why"):
        command("erasure", receipt["receipt"], "--force", "--note", " ")
    forced = command("erasure", receipt["receipt"], "--force", "--note", "CI-J was switched off")
    assert (forced["state"], forced["not_cleaned_up"], forced["finished_by"]) == ("forced", 1, "command line")
    assert forced["note"] == "CI-J was switched off"
    assert not Device.objects.exists()
    assert not Registration.objects.exists()
    assert world.held() == {(anna, "token-1")}
    with pytest.raises(CommandError, match="is over already"):
        command("erasure", receipt["receipt"], "--force", "--note", "again")


def test_an_erasure_that_an_outage_holds_up_is_told_when_it_is_overdue_and_ends_with_the_outage(world: World) -> None:
    registered(world)
    pauses.rest(world.app, Denied("HTTP 401"))  # the cleanup rests as everything else
    Pause.objects.update(until=timezone.now() + timedelta(hours=1))
    receipt = erase()
    world.work_for(0.5)
    assert state(receipt) == "waiting"
    assert Kind.ERASURE_OVERDUE not in {alert.kind for alert in open_alerts()}
    Erasure.objects.update(requested_at=timezone.now() - timedelta(hours=73))
    [overdue] = [alert for alert in open_alerts() if alert.kind is Kind.ERASURE_OVERDUE]
    assert receipt["receipt"] in overdue.what
    Pause.objects.update(until=timezone.now())
    # As old as it is said to be it is looked at every five minutes only.
    world.work_until(lambda: Erasure.objects.update(due_at=timezone.now()) and state(receipt) == "done")
    assert world.held() == set()
    assert open_alerts() == []


def test_a_forced_end_leaves_alone_what_another_device_desires(world: World) -> None:
    registered(world)
    receipt = erase()
    world.server.launch(user=ANNA)
    fresh = Device.objects.get(erasure=None)
    # As between the planner's two statements: linked still, and desired by the fresh device.
    Registration.objects.update(device=fresh)
    command("erasure", receipt["receipt"], "--force", "--note", "in a hurry")
    assert Registration.objects.get().erasure is None


def test_an_unknown_receipt_is_told(world: World) -> None:
    for more in ([], ["--force", "--note", "x"]):
        with pytest.raises(CommandError, match="There is no erasure of that receipt"):
            command("erasure", str(uuid.uuid4()), *more)


@pytest.mark.parametrize("step", ["push", "cleanup"])
def test_an_answer_for_a_registration_that_is_gone_does_no_harm(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("anna", "bert"):
        world.contact(emailaddress1=f"{name}@example.com")
        world.server.launch(
            installation_id=name, token=f"token-{name}", user={"id": name, "email": f"{name}@example.com"}
        )
    module = {"push": push, "cleanup": cleanup}[step]
    settle = outbox.settle
    receipts: list[dict[str, Any]] = []

    def gone_meanwhile(rows: Any, decide: Any) -> Any:
        if not receipts:
            receipts.append(erase() if step == "push" else receipt)
            command("erasure", receipts[0]["receipt"], "--force", "--note", "now")
        return settle(rows, decide)

    if step == "cleanup":
        world.work_until(lambda: len(world.held()) == 2)
        receipt = erase()
        world.mobile.delete("devices/bert")
    monkeypatch.setattr(module, "settle", gone_meanwhile)
    other = {"push": "registered", "cleanup": "retired"}[step]
    world.work_until(lambda: bool(receipts) and Registration.objects.get().state == other)


# --- at the same time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["map", "recheck"])
def test_an_answer_about_a_user_who_was_erased_meanwhile_does_no_harm(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step == "recheck":
        registered(world)
        DataverseMapping.objects.update(recheck_at=timezone.now())
    else:
        world.contact(emailaddress1="anna@example.com")
        world.server.launch(user=ANNA)
    settle = map.settle

    def erased_meanwhile(*arguments: Any) -> None:
        erase()
        world.server.launch(user=ANNA)
        settle(*arguments)

    monkeypatch.setattr({"map": map, "recheck": recheck}[step], "settle", erased_meanwhile)
    {"map": map, "recheck": recheck}[step].run_batch(MobileApp.objects.select_related("dataverse").get())
    monkeypatch.undo()
    assert DataverseMapping.objects.get().state == "pending"


def test_an_answer_that_comes_between_the_look_and_the_end_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(world)
    receipt = erase()
    plan.run_batch()
    lost = outbox.claim(world.app, Step.CLEANUP).rows
    Registration.objects.update(due_at=timezone.now())
    later = timezone.now() + timedelta(minutes=1)
    world.work_until(lambda: Erasure.objects.update(due_at=later) and Registration.objects.get().state == "retired")

    def answered_meanwhile(due: Any) -> Any:
        found = unfinished(due)
        assert found == set()
        outbox.settle(lost, lambda row, now: {})
        return found

    monkeypatch.setattr(erasures, "unfinished", answered_meanwhile)
    Erasure.objects.update(due_at=timezone.now())
    erasures.run_batch()
    assert state(receipt) == "waiting"
    monkeypatch.undo()
    world.work_until(lambda: state(receipt) == "done")
    assert len(world.microsoft.calls("cleanup")) == 2


def test_posts_plans_and_erasures_at_the_same_time_leave_nothing_behind(world: World) -> None:
    anna = registered(world)

    def work(number: int) -> None:
        for _ in range(8):
            if number == 0:
                try:
                    erase()
                except CommandError as error:
                    assert isinstance(error.__context__, InvalidInput)  # noqa: PT017 erased, and not back yet
            elif number == 1:
                plan.run_batch()
                map.run_batch(MobileApp.objects.select_related("dataverse").get())
            else:
                answer = world.server.launch(installation_id=f"phone-{number % 2}", token=f"t{number}", user=ANNA)
                assert answer.status_code in (200, 201)

    assert in_parallel(6, work) == []
    world.server.launch(user=ANNA)
    receipt = erase()
    world.work_until(lambda: not Erasure.objects.filter(state="waiting").exists(), timeout=30)
    assert state(receipt) == "done"
    stored = everything_stored()
    assert not [trace for trace in ("anna", "phone-", "token-1", anna) if trace in stored]
    assert world.held() == set()


def test_the_looks_grow_apart_and_never_stop() -> None:
    now = timezone.now()
    waits = [look_again(now - age, now) for age in (timedelta(0), timedelta(seconds=40), timedelta(days=3))]
    assert waits == [timedelta(seconds=1), timedelta(seconds=20), timedelta(minutes=5)]
