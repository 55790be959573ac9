"""When the far end, or our configuration of it, is at fault as a whole: nothing is lost, nothing is blamed wrongly."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from registry.models import DataverseMapping, Erasure, InteractionEvent, MobileApp, MobileUser, Pause, Registration
from registry.services.erasure import erase_user
from registry.services.locking import in_transaction
from registry.services.users import mark_devices
from sandbox.demo.compare import handovers
from sync import connect, pauses, tasks
from sync.clients.errors import Throttled, Unavailable
from tests.races import in_parallel
from tests.sandbox_process import World


def launch(world: World, count: int) -> dict[str, str]:
    """Phones of users that Dataverse knows; return the contacts by installation id."""
    contacts = {f"u{number}": world.contact(emailaddress1=f"u{number}@example.com") for number in range(count)}
    for name in contacts:
        world.server.launch(
            installation_id=name, token=f"token-{name}", user={"id": name, "email": f"{name}@example.com"}
        )
    return contacts


def test_when_every_registration_is_refused_the_app_rests_and_no_token_is_blamed(world: World) -> None:
    world.microsoft.add_fault("register_batch", times=None, status=400)
    contacts = launch(world, 5)
    world.work_until(world.app.pauses.exists)
    assert not Registration.objects.filter(state="failed").exists()
    for _ in range(3):  # each probe is one registration: it is not blamed either, and ends no pause
        Pause.objects.update(until=timezone.now())
        Registration.objects.update(due_at=timezone.now())
        world.work_once()
    assert not Registration.objects.filter(state="failed").exists()
    assert world.app.pauses.get().failures == 4
    world.microsoft.clear_faults()
    Pause.objects.update(until=timezone.now())
    world.work_until(lambda: len(world.held()) == len(contacts), timeout=30)
    world.work_until(lambda: not world.app.pauses.exists())


def test_a_token_refused_on_its_own_is_failed_the_sixth_time_and_pauses_nobody(world: World) -> None:
    world.microsoft.add_fault("register_batch", times=None, status=400)
    launch(world, 1)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    for _ in range(6):
        assert not _failed()
        Registration.objects.update(due_at=timezone.now())
        tasks.STEPS["push"]()
    assert _failed()
    assert not world.app.pauses.exists()


def _failed() -> bool:
    return Registration.objects.filter(state="failed", reason="Refused").exists()


def test_a_table_that_dataverse_does_not_have_does_not_stop_the_others(world: World) -> None:
    world.app.dataverse.profile_email_column = "nosuch_column"
    world.app.dataverse.save()
    contacts = launch(world, 5)
    world.server.launch(installation_id="unknown", token="other", user={"id": "x", "email": "x@example.com"})
    world.work_until(lambda: len(world.held()) == len(contacts))
    assert not Pause.objects.exists()
    # Not known to be not found: the profile that could be theirs was not asked for.
    assert DataverseMapping.objects.get(user__external_id="x").state == "pending"


def test_an_app_whose_secret_cannot_be_read_does_not_stop_the_others(world: World) -> None:
    broken = MobileApp.objects.get(pk=world.app.pk)
    broken.pk, broken.slug, broken.mobile_app_id = None, "broken", "00000000-0000-0000-0000-000000000001"
    broken.save(force_insert=True)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE registry_mobileapp SET api_token = 'rubbish' WHERE slug = 'broken'")
    contacts = launch(world, 1)
    world.work_until(lambda: len(world.held()) == len(contacts))


def test_a_failed_resend_is_cleaned_up_before_the_next_owner(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    bert = world.contact(emailaddress1="bert@example.com")
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == "registered")
    # Sent again, as after thirty days, and this time it fails; CI-J holds what it held.
    world.microsoft.add_fault("status", status=200, body=[{"Status": "Failed", "FailureReason": "DryRunSendingFailed"}])
    Registration.objects.update(due_at=timezone.now())
    world.work_until(lambda: world.server.state() == "failed")
    world.server.launch(user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.held() == {(bert, "token-1")})
    gone = next(effect.seq for effect in world.microsoft.effects("cleanup") if effect.user_id == anna)
    came = next(effect.seq for effect in world.microsoft.effects("register") if effect.user_id == bert)
    assert gone < came


def test_a_send_without_an_answer_is_not_forgotten_when_the_next_one_fails(world: World) -> None:
    """It may have been worked off: what it left is cleaned up before the next owner."""
    anna = world.contact(emailaddress1="anna@example.com")
    bert = world.contact(emailaddress1="bert@example.com")
    world.microsoft.add_fault("register_batch", drop_connection="after")
    world.microsoft.add_fault("status", status=200, body=[{"Status": "Failed", "FailureReason": "DryRunSendingFailed"}])
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == "failed")
    assert world.held() == {(anna, "token-1")}
    world.server.launch(user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.held() == {(bert, "token-1")})
    assert [(effect.user_id, effect.held) for effect in world.microsoft.effects()][-2:] == [(anna, False), (bert, True)]


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("rounds", [1, 3])
def test_nor_is_one_that_was_pending_for_a_day(world: World, settings: Settings, rounds: int) -> None:
    """CI-J never said what became of it, and held it all the same."""
    settings.TOKENHUB_PENDING_ROUNDS = rounds
    anna = world.contact(emailaddress1="anna@example.com")
    bert = world.contact(emailaddress1="bert@example.com")
    world.microsoft.set_outcomes({"token-1": ["PendingStored", "DryRunSendingFailed", "Success"]})
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.held() == {(anna, "token-1")})
    world.work_until(lambda: Registration.objects.get().state == "sent")
    Registration.objects.update(undecided_until=timezone.now(), due_at=timezone.now())  # a day passes
    world.work_until(lambda: Registration.objects.get().reason or Registration.objects.get().rounds)
    Registration.objects.update(due_at=timezone.now())
    world.work_until(lambda: Registration.objects.get().reason == "DryRunSendingFailed")
    world.server.launch(user={"id": "bert", "email": "bert@example.com"})
    world.work_until(lambda: world.held() == {(bert, "token-1")})
    assert handovers(world.microsoft.effects()).violations == []


def test_workers_that_fail_together_write_one_pause(world: World) -> None:
    raised = in_parallel(6, lambda _: pauses.rest(world.app, Unavailable("HTTP 500")))
    assert raised == []
    assert world.app.pauses.get().failures == 6


def test_planners_and_settlers_do_not_lose_each_others_work(world: World) -> None:
    contacts = launch(world, 30)
    users = list(MobileUser.objects.values_list("pk", flat=True))
    ends = timezone.now() + timedelta(seconds=4)

    def work(number: int) -> None:
        steps = list(tasks.STEPS.values())
        while timezone.now() < ends:
            steps[number % len(steps)]()
            if number % 2:
                in_transaction(lambda: mark_devices(users))

    assert in_parallel(6, work) == []
    world.work_until(lambda: len(world.held()) == len(contacts), timeout=30)


@pytest.mark.parametrize("step", ["map", "push", "confirm", "cleanup", "single cleanups", "relay"])
def test_nothing_is_sent_that_its_lease_may_not_outlast(world: World, settings: Settings, step: str) -> None:
    """An answer after the lease is lost, and somebody else may be sending the same by then."""
    launch(world, 2)
    if step == "push":
        tasks.STEPS["map"]()
        tasks.STEPS["plan"]()
    elif step == "confirm":
        world.work_until(lambda: Registration.objects.filter(state="sent").count() == 2)
    elif "cleanup" in step:
        MobileApp.objects.update(batch_cleanup=step == "cleanup")
        world.work_until(lambda: Registration.objects.filter(state="registered").count() == 2)
        for name in ("u0", "u1"):
            world.mobile.post(f"devices/{name}/sign-out")
        tasks.STEPS["plan"]()
    elif step == "relay":
        world.mobile.post("events", {"token": "token-u0", "tracking_id": str(uuid4()), "status": "opened"})
    step = "cleanup" if "cleanup" in step else step
    assert calls_of(world, step, settings.TOKENHUB_CALL_DEADLINE - timedelta(seconds=1), settings) == 0
    assert calls_of(world, step, timedelta(seconds=60), settings) > 0
    expected = 0 if "cleanup" in step else 2
    world.work_until(lambda: len(world.held()) == expected and not moving())


def calls_of(world: World, step: str, lease: timedelta, settings: Settings) -> int:
    """How many calls the step makes with a lease of that length."""
    settings.TOKENHUB_LEASE = lease
    Registration.objects.update(due_at=timezone.now())
    DataverseMapping.objects.filter(state="pending").update(due_at=timezone.now())
    InteractionEvent.objects.update(due_at=timezone.now())
    seen = world.microsoft.summary()["seq"]
    tasks.STEPS[step]()
    return len(world.microsoft.calls(after=seen))


def moving() -> bool:
    return Registration.objects.exclude(state__in=["registered", "retired"]).exists()


def test_a_refused_batch_is_not_split_where_the_status_call_is_refused_too(world: World) -> None:
    """Org, mobile app id or ApiToken are wrong: no token is looked at on its own."""
    world.microsoft.add_fault("register_batch", times=None, status=400)
    world.microsoft.add_fault("status", times=None, status=400)
    launch(world, 8)
    world.work_until(world.app.pauses.exists)
    assert world.app.pauses.get().reason == "configuration"
    assert [len(call.items) for call in world.microsoft.calls("register_batch")] == [8]


def test_every_call_of_a_batch_that_is_taken_apart_is_counted(world: World) -> None:
    MobileApp.objects.update(requests_per_second=1)  # ten calls at once, and then one a second
    world.microsoft.add_fault("register_batch", times=None, status=400)
    launch(world, 8)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    tasks.STEPS["push"]()
    world.app.refresh_from_db()
    assert connect.bucket(world.app).is_empty()


@pytest.mark.parametrize("status", [400, 401, 429])
def test_what_cij_did_not_take_keeps_nobody_waiting(world: World, settings: Settings, status: int) -> None:
    """Nothing has to be cleaned up, nor waited for: CI-J said that it knows nothing of it."""
    world.microsoft.add_fault("register_batch", times=None, status=status)
    launch(world, 2)
    world.work_until(world.app.pauses.exists)
    receipt = erase_user(world.app, "u0", "test")
    world.mobile.post("devices/u1/sign-out")
    Erasure.objects.update(due_at=timezone.now())
    world.work_until(lambda: Erasure.objects.get(pk=receipt.pk).state == "done")
    world.work_until(lambda: Registration.objects.get().state == "retired")
    assert Registration.objects.get().due_at is None
    assert world.microsoft.calls("cleanup") == world.microsoft.calls("cleanup_batch") == []


def test_a_registration_that_was_taken_without_a_request_id_may_be_held(world: World) -> None:
    world.microsoft.add_fault("register_batch", status=202, body=[{}], handled=True)
    launch(world, 1)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    tasks.STEPS["push"]()
    assert Registration.objects.get().maybe_held is True
    world.mobile.post("devices/u0/sign-out")
    world.work_until(lambda: world.microsoft.effects("cleanup"))
    assert world.held() == set()


def test_a_gateway_s_503_does_not_say_that_cij_did_not_take_it(world: World) -> None:
    world.microsoft.add_fault("register_batch", status=503, headers={"Retry-After": "1"}, handled=True)
    launch(world, 1)
    world.work_until(world.app.pauses.exists)
    assert Registration.objects.get().maybe_held is True
    world.mobile.post("devices/u0/sign-out")
    world.work_until(lambda: world.microsoft.effects("cleanup"))
    assert world.held() == set()


def test_of_all_workers_one_probes(world: World) -> None:
    launch(world, 8)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    pauses.rest(world.app, Throttled("HTTP 429", 60))
    world.app.pauses.update(until=timezone.now())
    world.microsoft.add_fault("register_batch", times=None, status=500, delay=0.5)
    assert in_parallel(6, lambda _: tasks.STEPS["push"]()) == []
    [probe] = world.microsoft.calls("register_batch")
    assert len(probe.items) == 1
    # The others have claimed nothing; should the one have died, another probes later.
    assert Registration.objects.filter(in_flight=True).count() == 0
    assert Registration.objects.filter(attempts=0).count() == 7
    world.microsoft.clear_faults()
    world.app.pauses.update(until=timezone.now())
    world.work_until(lambda: len(world.held()) == 8)
