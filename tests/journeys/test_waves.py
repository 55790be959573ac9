"""Failed dry runs: one is a dead token, many in a row are expired credentials."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from registry.models import Device, Pause, Registration
from registry.services import clock
from registry.states import Step
from sync import pauses, tasks, waves
from sync.outbox import claim
from sync.status import open_pauses
from tests.races import in_parallel, uncommitted
from tests.sandbox_process import API_TOKEN, World


def launch(world: World, *numbers: int, platform: str = "android") -> dict[str, str]:
    """Phones of users that Dataverse knows; return the tokens by installation id."""
    tokens = {}
    for number in numbers:
        name = f"{platform}{number}"
        tokens[name] = f"{number:032x}"
        world.contact(emailaddress1=f"{name}@example.com")
        world.server.launch(
            installation_id=name,
            platform=platform,
            token=tokens[name],
            user={"id": name, "email": f"{name}@example.com"},
        )
    return tokens


@pytest.fixture
def small_wave(settings: Settings) -> None:
    settings.TOKENHUB_DRY_RUN_WAVE = 5


@pytest.mark.usefixtures("small_wave")
def test_a_wave_pauses_its_platform_keeps_every_token_and_ends_with_a_success(world: World) -> None:
    tokens = launch(world, *range(6))
    world.microsoft.set_outcomes(dict.fromkeys(tokens.values(), "DryRunSendingFailed"))
    world.work_until(lambda: open_pauses(world.app).exists())
    assert open_pauses(world.app).get().platform == "android"
    assert {world.server.state(name) for name in tokens} == {"pending"}
    # The other platform goes on, and its success says nothing about this one.
    ios = launch(world, 100, platform="ios")
    world.work_until(lambda: world.server.state("ios100") == "registered")
    assert open_pauses(world.app).exists()
    # The credentials are renewed: one probe succeeds, and everything follows.
    world.microsoft.set_outcomes(dict.fromkeys(tokens.values(), None))
    world.app.pauses.update(until=timezone.now())
    world.work_until(lambda: {token for _, token in world.held()} == {*tokens.values(), *ios.values()})
    assert not open_pauses(world.app).exists()


@pytest.mark.usefixtures("small_wave")
def test_while_a_wave_lasts_one_registration_at_a_time_probes(world: World) -> None:
    tokens = launch(world, *range(6))
    world.microsoft.set_outcomes(dict.fromkeys(tokens.values(), "DryRunSendingFailed"))
    world.work_until(lambda: open_pauses(world.app).exists())
    seen = world.microsoft.summary()["seq"]
    world.app.pauses.update(until=timezone.now())
    world.work_until(lambda: world.microsoft.calls("register_batch", after=seen))
    world.work_for(1)
    [probe] = world.microsoft.calls("register_batch", after=seen)
    assert len(probe.items) == 1
    assert open_pauses(world.app).exists()


@pytest.mark.usefixtures("small_wave")
def test_dead_tokens_among_living_ones_are_no_wave(world: World) -> None:
    tokens = launch(world, *range(12))
    dead = dict(list(tokens.items())[:6])
    world.microsoft.set_outcomes(dict.fromkeys(dead.values(), "DryRunSendingFailed"))
    world.work_until(lambda: {world.server.state(name) for name in dead} == {"failed"})
    assert not open_pauses(world.app).exists()
    assert len(world.held()) == 6
    # A failed token is left alone until the phone posts a new one.
    world.server.launch(installation_id="android0", token="f" * 32, user={"id": "android0"})
    world.work_until(lambda: world.server.state("android0") == "registered")


def test_an_old_registration_is_confirmed_again_when_its_phone_launches(world: World) -> None:
    launch(world, 1)
    world.work_until(lambda: world.server.state("android1") == "registered")
    Registration.objects.update(registered_at=timezone.now() - timedelta(days=31))
    world.work_for(0.3)
    assert len(world.microsoft.calls("register_batch")) == 1
    Device.objects.update(last_seen=timezone.now() - timedelta(hours=7))
    launch(world, 1)
    world.work_until(lambda: len(world.microsoft.calls("register_batch")) == 2)
    world.work_until(lambda: world.server.state("android1") == "registered")
    assert Registration.objects.get().registered_at > timezone.now() - timedelta(minutes=1)  # type: ignore[operator]


def test_so_it_is_when_the_launch_tells_of_a_new_version_of_the_app(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    phone = {"installation_id": "phone-1", "token": "token-1", "user": {"id": "anna", "email": "anna@example.com"}}
    world.server.launch(**phone, app_version="1.0")
    world.work_until(lambda: world.server.state() == "registered")
    Registration.objects.update(registered_at=timezone.now() - timedelta(days=31))
    world.server.launch(**phone, app_version="2.0")
    world.work_until(lambda: len(world.microsoft.calls("register_batch")) == 2)
    world.work_until(lambda: world.server.state() == "registered")
    assert world.held() == {(anna, "token-1")}


@pytest.mark.usefixtures("small_wave")
def test_a_wave_may_come_slowly_and_what_it_failed_from_its_first_on_is_tried_again(world: World) -> None:
    tokens: dict[str, str] = {}
    for number in range(5):
        tokens |= launch(world, number)
        world.microsoft.set_outcomes(dict.fromkeys(tokens.values(), "DryRunSendingFailed"))
        world.work_until(lambda: all(decided(token) for token in tokens.values()))  # noqa: B023 called here only
        # An hour passes.
        hour = timedelta(hours=1)
        Pause.objects.update(created_at=F("created_at") - hour, until=F("until") - hour)
        Registration.objects.update(decided_at=F("decided_at") - hour)
    world.microsoft.set_outcomes(dict.fromkeys(tokens.values(), None))
    world.app.pauses.update(until=timezone.now())
    world.work_until(lambda: {token for _, token in world.held()} == set(tokens.values()))


def decided(token: str) -> bool:
    """Whether a test message to it failed, if only to be queued again by the wave."""
    return Registration.objects.filter(token=token, decided_at__isnull=False).exists()


def test_what_was_sent_with_a_wrong_api_token_is_sent_again_when_it_is_right(world: World) -> None:
    """CI-J answers 202 to a wrong ApiToken, stores nothing, and says Pending for ever."""
    launch(world, 1)
    app = world.app
    world.microsoft.put_app(str(app.org_id), str(app.mobile_app_id), "another")
    world.work_until(lambda: open_pauses(app).filter(reason__in=["credentials", "configuration"]).exists())
    assert Registration.objects.get().request_id is not None
    world.microsoft.put_app(str(app.org_id), str(app.mobile_app_id), API_TOKEN)
    app.pauses.update(until=timezone.now())
    world.work_until(lambda: world.server.state("android1") == "registered", timeout=30)
    assert Registration.objects.get().rounds == 0


def test_a_probe_that_is_accepted_ends_no_pause_while_the_api_token_is_wrong(world: World) -> None:
    """A 202 proves no credentials: the call that checks them is made beside it."""
    launch(world, 1)
    app = world.app
    world.microsoft.put_app(str(app.org_id), str(app.mobile_app_id), "another")
    world.work_until(lambda: open_pauses(app).filter(reason__in=["credentials", "configuration"]).exists())
    launch(world, 2)
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    app.pauses.update(until=timezone.now())
    seen = world.microsoft.summary()["seq"]
    tasks.STEPS["push"]()
    [probe] = world.microsoft.calls("register_batch", after=seen)
    assert probe.status == 202
    assert open_pauses(app).get().failures == 2


def test_one_without_any_outcome_is_tried_again_when_its_phone_launches(world: World) -> None:
    launch(world, 1)
    world.work_until(lambda: Registration.objects.filter(state="sent").exists())
    old = timezone.now() - timedelta(days=2)
    Registration.objects.update(state="failed", reason="Unknown", decided_at=old, request_id=None, due_at=None)
    Device.objects.update(last_seen=timezone.now() - timedelta(hours=7))
    launch(world, 1)
    world.work_until(lambda: world.server.state("android1") == "registered")


def test_one_registration_probes_a_wave_however_many_workers_look(world: World) -> None:
    world.app.pauses.create(platform="android", reason="dry_run", failures=20, until=timezone.now())
    seen: list[tuple[list[str], int]] = []
    assert in_parallel(4, lambda _: seen.append(waves.lane(world.app, 100))) == []
    assert sorted(seen) == [(["android"], 1), *3 * [(["ios"], 100)]]


def test_workers_that_count_failed_test_messages_together_lose_none(world: World) -> None:
    failed = Registration(
        app=world.app, sent_platform="android", state="failed", reason="DryRunSendingFailed", decided_at=clock.now()
    )
    with uncommitted(lambda: waves.heed(world.app, [failed])):
        waves.heed(world.app, [failed])
    assert world.app.pauses.get().failures == 2


@pytest.mark.parametrize("how", ["asked about by a worker", "cleaned up early"])
def test_what_is_sent_again_leaves_out_whose_request_id_is_needed(world: World, how: str) -> None:
    launch(world, 1)
    world.work_until(lambda: Registration.objects.filter(state="sent").exists())
    Registration.objects.update(due_at=timezone.now())
    if how == "cleaned up early":
        Registration.objects.update(cleaned_at=timezone.now())
    else:
        assert claim(world.app, Step.CONFIRM).rows
    before = Registration.objects.get()
    assert pauses.send_again(world.app) == 0
    assert Registration.objects.get().request_id == before.request_id is not None


def test_an_outcome_of_api_token_not_valid_pauses_the_app_and_costs_no_token(world: World) -> None:
    tokens = launch(world, 1)
    world.microsoft.set_outcomes(dict.fromkeys(tokens.values(), "ApiTokenNotValid"))
    world.work_until(lambda: open_pauses(world.app).filter(reason="credentials").exists())
    assert world.server.state("android1") == "pending"
    world.microsoft.set_outcomes(dict.fromkeys(tokens.values(), None))
    world.app.pauses.update(until=timezone.now())
    Registration.objects.update(due_at=timezone.now())
    world.work_until(lambda: world.server.state("android1") == "registered")


@pytest.mark.usefixtures("small_wave")
def test_a_worker_that_dies_before_it_counts_costs_the_wave_no_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = launch(world, *range(6))
    world.microsoft.set_outcomes(dict.fromkeys(tokens.values(), "DryRunSendingFailed"))
    died: list[object] = []

    def die(*_: object) -> None:
        died.append(_)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(waves, "heed", die)
        world.work_until(lambda: died)
    Registration.objects.filter(in_flight=True).update(due_at=timezone.now())  # its lease is over
    world.work_until(lambda: open_pauses(world.app).exists())
    assert not Registration.objects.filter(state="failed").exists()
    world.microsoft.set_outcomes(dict.fromkeys(tokens.values(), None))
    world.app.pauses.update(until=timezone.now())
    world.work_until(lambda: {token for _, token in world.held()} == set(tokens.values()))


def test_a_worker_that_dies_while_it_ends_a_pause_leaves_it_to_the_next_probe(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent with wrong credentials would wait for a day otherwise, as CI-J never says what became of it."""
    launch(world, 1)
    app = world.app
    world.microsoft.put_app(str(app.org_id), str(app.mobile_app_id), "another")
    world.work_until(lambda: open_pauses(app).filter(reason__in=["credentials", "configuration"]).exists())
    world.microsoft.put_app(str(app.org_id), str(app.mobile_app_id), API_TOKEN)
    died: list[object] = []

    def die(*_: object) -> None:
        died.append(_)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(pauses, "send_again", die)
        app.pauses.update(until=timezone.now())
        world.work_until(lambda: died)
    assert open_pauses(app).exists()
    app.pauses.update(until=timezone.now())
    world.work_until(lambda: world.server.state("android1") == "registered", timeout=30)
    assert Registration.objects.get().rounds == 0
