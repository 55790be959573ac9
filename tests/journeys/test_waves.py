"""Failed dry runs: one is a dead token, many in a row are expired credentials."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from registry.models import Device, Registration
from sync.status import open_pauses
from tests.sandbox_process import World


def launch(world: World, *numbers: int, platform: str = "android") -> dict[str, str]:
    """Phones of users that Dataverse knows; return the tokens by installation id."""
    tokens = {}
    for number in numbers:
        name = f"{platform}{number}"
        tokens[name] = f"{number:064x}"
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
    world.server.launch(installation_id="android0", token="f" * 64, user={"id": "android0"})
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
