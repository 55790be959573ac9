"""What nobody uses is retired and cleaned up, what is over for long is deleted, and nothing else is."""

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from registry.models import Device, Erasure, EventMark, InteractionEvent, MobileApp, Registration
from registry.services import purge
from registry.services.erasure import erase_user, force_erasure, unfinished
from registry.services.hygiene import retire_stale
from sync import tasks
from tests.conftest import Api
from tests.journeys.test_outages import launch
from tests.races import in_parallel
from tests.sandbox_process import World

LONG_AGO = timedelta(days=2000)
ANNA = {"id": "anna", "email": "anna@example.com"}


def unseen_for(days: float, *installations: str) -> None:
    Device.objects.filter(installation_id__in=installations).update(last_seen=timezone.now() - timedelta(days=days))


def living() -> set[str]:
    return set(Device.objects.filter(retired_at=None).values_list("installation_id", flat=True))


# --- not seen for too long --------------------------------------------------------------------------------------------


def test_an_android_device_not_seen_for_270_days_is_cleaned_up_and_lives_again_when_it_posts(world: World) -> None:
    contacts = launch(world, 2)
    world.work_until(lambda: len(world.held()) == 2)
    unseen_for(271, "u0")
    unseen_for(269, "u1")
    tasks.STEPS["hygiene"]()
    world.work_until(lambda: world.held() == {(contacts["u1"], "token-u1")})
    assert world.server.state("u0") == "retired"
    assert Device.objects.get(installation_id="u0").retired_reason == "stale"
    user = {"id": "u0", "email": "u0@example.com"}
    assert world.server.launch(installation_id="u0", token="token-u0", user=user).json()["result"] == "updated"
    world.work_until(lambda: len(world.held()) == 2)


def test_as_last_seen_is_written_late_the_device_has_that_much_longer(app: MobileApp, server: Api) -> None:
    server.launch()
    unseen_for(270.2, "phone-1")  # TOKENHUB_LAST_SEEN_HOURS: it may have been seen six hours later
    assert retire_stale() == 0
    unseen_for(270.3, "phone-1")
    assert retire_stale() == 1


def test_each_app_says_how_long_and_0_is_never_and_ios_is_not_meant(app: MobileApp, server: Api) -> None:
    server.launch()
    server.launch(installation_id="iphone", platform="ios", token="ab" * 32)
    unseen_for(5000, "phone-1", "iphone")
    app.android_stale_days = 0
    app.save()
    assert retire_stale() == 0
    app.android_stale_days = 30
    app.save()
    assert retire_stale() == 1
    assert living() == {"iphone"}


def test_a_device_that_posts_while_it_is_retired_lives(world: World) -> None:
    """Its post reads the device as it was before, and finds it retired when it writes down that it was seen."""
    world.server.launch()
    unseen_for(300, "phone-1")
    posted, go_on = threading.Event(), threading.Event()
    answers: list[str] = []

    def wait(execute: object, sql: str, params: object, many: bool, context: object) -> object:
        if sql.startswith("UPDATE") and "last_seen" in sql:
            posted.set()
            assert go_on.wait(10)
        return execute(sql, params, many, context)  # type: ignore[operator]

    def post() -> None:
        try:
            with connection.execute_wrapper(wait):
                answers.append(world.server.launch().json()["result"])
        finally:
            connection.close()

    thread = threading.Thread(target=post)
    thread.start()
    assert posted.wait(10)
    assert retire_stale() == 1
    go_on.set()
    thread.join()
    assert answers == ["updated"]
    assert living() == {"phone-1"}


def test_a_post_and_the_hygiene_at_the_same_time_leave_the_device_living(world: World) -> None:
    for _ in range(10):
        world.server.launch()
        unseen_for(300, "phone-1")
        work = [retire_stale, world.server.launch]
        assert in_parallel(2, lambda number, work=work: work[number]()) == []  # type: ignore[misc]
        assert living() == {"phone-1"}


# --- too many devices -------------------------------------------------------------------------------------------------


def test_of_more_devices_than_a_user_may_have_the_longest_unseen_goes_and_is_cleaned_up(world: World) -> None:
    MobileApp.objects.update(max_devices_per_user=2)
    anna = world.contact(emailaddress1="anna@example.com")
    for name in ("a", "b"):
        world.server.launch(installation_id=name, token=f"token-{name}", user=ANNA)
    world.work_until(lambda: len(world.held()) == 2)
    unseen_for(3, "a")
    unseen_for(2, "b")
    world.server.launch(installation_id="c", token="token-c", user=ANNA)
    assert living() == {"b", "c"}
    assert Device.objects.get(installation_id="a").retired_reason == "too_many"
    world.work_until(lambda: world.held() == {(anna, "token-b"), (anna, "token-c")})


@pytest.mark.parametrize("how", ["new", "switched", "revived"])
def test_the_device_that_posts_always_stays(app: MobileApp, server: Api, how: str) -> None:
    MobileApp.objects.update(max_devices_per_user=2)
    if how != "new":
        server.launch(installation_id="mine", token="mine", user=ANNA if how == "revived" else {"id": "bert"})
        if how == "revived":
            server.delete("devices/mine")
    for name in ("a", "b"):
        server.launch(installation_id=name, token=name, user=ANNA)
    unseen_for(1, "a")
    unseen_for(100, "mine")
    server.launch(installation_id="mine", token="mine", user=ANNA)
    assert living() == {"b", "mine"}


def test_a_lower_limit_holds_with_the_next_device_and_0_is_no_limit(app: MobileApp, server: Api) -> None:
    MobileApp.objects.update(max_devices_per_user=0)
    for number in range(30):
        server.launch(installation_id=f"p{number}", token=f"t{number}", user=ANNA)
        unseen_for(100 - number, f"p{number}")
    assert len(living()) == 30
    MobileApp.objects.update(max_devices_per_user=25)
    server.launch(installation_id="p29", token="t29-new", user=ANNA)  # its user had it before
    assert len(living()) == 30
    server.launch(installation_id="p30", token="t30", user=ANNA)
    assert living() == {f"p{number}" for number in range(6, 31)}


def test_devices_of_one_user_that_appear_together_keep_the_limit(world: World) -> None:
    MobileApp.objects.update(max_devices_per_user=3)

    def work(number: int) -> None:
        for turn in range(4):
            name = f"{number}-{turn}"
            assert world.server.launch(installation_id=name, token=name, user=ANNA).status_code == 201

    assert in_parallel(6, work) == []
    assert len(living()) == 3


# --- over for long ----------------------------------------------------------------------------------------------------


def age_everything(by: timedelta = LONG_AGO) -> None:
    then = timezone.now() - by
    Registration.objects.update(desired_changed_at=then, sent_at=then, decided_at=then, created_at=then)
    Registration.objects.filter(cleaned_at__isnull=False).update(cleaned_at=then)
    Device.objects.filter(retired_at__isnull=False).update(retired_at=then)
    InteractionEvent.objects.update(received_at=then, occurred_at=then)
    EventMark.objects.update(made_at=then)
    Erasure.objects.filter(finished_at__isnull=False).update(finished_at=then)
    Erasure.objects.update(requested_at=then)


def test_what_is_over_goes_after_its_time_and_not_before(world: World) -> None:
    world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    world.mobile.post("events", {"installation_id": "phone-1", "tracking_id": str(uuid.uuid4()), "status": "opened"})
    world.work_until(lambda: world.server.state() == "registered" and bool(world.microsoft.events()))
    world.mobile.delete("devices/phone-1")
    world.work_until(lambda: Registration.objects.get().state == "retired")
    # Events go with their partition, which holds a week.
    for days, left in [(29, (1, 1, 1)), (31, (0, 1, 1)), (89, (0, 1, 1)), (91, (0, 1, 0)), (98, (0, 0, 0))]:
        age_everything(timedelta(days=days))
        while tasks.STEPS["hygiene"]():
            pass
        counts = (Registration.objects.count(), InteractionEvent.objects.count(), Device.objects.count())
        assert counts == left, days


def test_nothing_that_is_still_to_be_cleaned_up_is_purged(world: World) -> None:
    """However old: living devices, cleanups that CI-J does not take, answers that may still come."""
    launch(world, 4)
    world.work_until(lambda: len(world.held()) == 4)
    world.microsoft.add_fault("cleanup", times=None, status=500)
    world.microsoft.add_fault("cleanup_batch", times=None, status=500)
    world.mobile.delete("devices/u0")
    world.server.launch(installation_id="u2", token="token-u2", user=None)  # and not planned
    world.work_until(lambda: Registration.objects.filter(state="retiring", attempts__gt=0).exists())
    # A cleanup is over, and yet a send whose answer was lost may still be worked off.
    lost = timezone.now() + timedelta(hours=20)
    row = Registration.objects.get(token="token-u3")
    Registration.objects.filter(pk=row.pk).update(
        state="retired", desired=False, maybe_held=False, cleaned_at=timezone.now(), unanswered_until=lost, due_at=lost
    )
    Device.objects.filter(installation_id="u3").update(retired_at=timezone.now())
    age_everything()
    for _ in range(3):
        tasks.STEPS["hygiene"]()
    assert (Registration.objects.count(), Device.objects.count()) == (4, 4)


@pytest.mark.parametrize(
    "what",
    [
        {"state": "registered"},
        {"desired": True},
        {"maybe_held": True},
        {"in_flight": True},
        {"recheck": True},
        {"due_at": timezone.now()},
        {"unanswered_until": timezone.now() + timedelta(hours=20)},
    ],
)
def test_only_what_cij_has_forgotten_for_good_is_over(app: MobileApp, server: Api, what: dict[str, Any]) -> None:
    server.launch()
    row = Registration.objects.create(
        app=app, device=Device.objects.get(), table="contact", dataverse_id=uuid.uuid4(), platform="android",
        token="token-1", token_hash=b"", state="retired", desired=False, due_at=None,
    )  # fmt: skip
    over = Registration.objects.filter(purge.is_over())
    assert over.get() == row
    Registration.objects.update(**what)
    assert not over.exists()


def test_nothing_is_over_sooner_where_a_clock_is_fast(
    app: MobileApp, server: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.launch(user=ANNA)
    receipt = erase_user(app, "anna", "test")
    Device.objects.update(planned_revision=F("revision"))
    Registration.objects.create(
        app=app, erasure=receipt, table="contact", dataverse_id=uuid.uuid4(), platform="android", token="token-1",
        token_hash=b"", state="retired", desired=False, due_at=None,
        unanswered_until=timezone.now() + timedelta(hours=20),
    )  # fmt: skip
    fast = timezone.now() + timedelta(days=2)
    monkeypatch.setattr(timezone, "now", lambda: fast)
    assert unfinished([receipt]) == {receipt.pk}


def test_a_retired_device_waits_for_its_plan(app: MobileApp, server: Api) -> None:
    server.launch()
    server.delete("devices/phone-1")
    age_everything()
    assert purge.purge() == 0
    Device.objects.update(planned_revision=F("revision"))
    assert purge.purge() == 1


def test_receipts_go_three_years_after_the_end_and_what_waits_stays(app: MobileApp, server: Api) -> None:
    server.launch(user=ANNA)
    server.launch(installation_id="b", token="b", user={"id": "bert"})
    waiting, over = (erase_user(app, user, "command line") for user in ("anna", "bert"))
    force_erasure(over.pk, "a test", "olga")
    age_everything(timedelta(days=1094))
    assert purge.purge() == 0
    age_everything(timedelta(days=1096))
    assert purge.purge() == 1
    assert Erasure.objects.get() == waiting
    assert Device.objects.get().erasure == waiting


def test_hygiene_goes_on_until_nothing_is_left(app: MobileApp, server: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "BATCH", 3)
    monkeypatch.setattr(tasks, "BUDGET", 60.0)  # a slow machine is not what is tested
    events = [{"token": "nobodys", "tracking_id": str(uuid.uuid4()), "status": "opened"} for _ in range(8)]
    server.post("events", events)
    age_everything()
    nudged: list[str] = []
    monkeypatch.setattr(tasks, "nudge", lambda step, delay=0.0: nudged.append(step))
    tasks.run("hygiene", "a mark")
    assert not InteractionEvent.objects.exists()
    assert not EventMark.objects.exists()
    assert nudged == ["plan"]
    tasks.sweep()
    assert "hygiene" not in nudged
    tasks.tidy()  # its own beat entry
    assert nudged[-1] == "hygiene"
