"""Cleanups that CI-J refuses, one token's or everybody's, and those that take long."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from registry.models import MobileApp, Registration
from sync import tasks
from tests.journeys.test_outages import launch
from tests.sandbox_process import World


@pytest.fixture
def signed_out(world: World) -> World:
    """Three phones that are registered and to be cleaned up."""
    names = launch(world, 3)
    world.work_until(lambda: Registration.objects.filter(state="registered").count() == 3)
    for name in names:
        world.mobile.post(f"devices/{name}/sign-out")
    tasks.STEPS["plan"]()
    return world


def refuse(world: World, *kinds: str, token: str | None = None) -> None:
    for kind in kinds:
        world.microsoft.add_fault(kind, times=None, token=token, status=400)


def test_one_that_is_refused_for_good_is_over_and_does_not_block_the_next_owner(signed_out: World) -> None:
    refuse(signed_out, "cleanup", "cleanup_batch", token="token-u1")
    bert = signed_out.contact(emailaddress1="bert@example.com")
    user = {"id": "bert", "email": "bert@example.com"}
    signed_out.server.launch(installation_id="u1", token="token-u1", user=user)
    signed_out.work_until(lambda: signed_out.server.state("u1") == "registered")
    assert (bert, "token-u1") in signed_out.held()
    refused = Registration.objects.get(token="token-u1", desired=False)
    assert (refused.state, refused.detail) == ("retired", "The cleanup was refused: HTTP 400")
    # It was this one's fault, neither the app's nor the array's.
    signed_out.app.refresh_from_db()
    assert not signed_out.app.pauses.exists()
    assert signed_out.app.batch_cleanup is True


def test_an_array_is_not_taken_apart_where_the_status_call_is_refused_too(signed_out: World) -> None:
    refuse(signed_out, "cleanup", "cleanup_batch", "status")
    tasks.STEPS["cleanup"]()
    assert signed_out.app.pauses.get().reason == "configuration"
    assert signed_out.microsoft.calls("cleanup") == []
    assert set(Registration.objects.values_list("state", "maybe_held")) == {("retiring", True)}


def test_no_single_one_is_blamed_where_the_status_call_is_refused_too(signed_out: World) -> None:
    signed_out.app.batch_cleanup = False
    signed_out.app.save()
    refuse(signed_out, "cleanup", token="token-u1")
    refuse(signed_out, "status")
    tasks.STEPS["cleanup"]()
    assert signed_out.app.pauses.get().reason == "configuration"
    row = Registration.objects.get(token="token-u1")
    assert (row.state, row.cleaned_at) == ("retiring", None)


def test_two_that_are_refused_for_good_and_stand_alone_do_not_block_the_next_owner_for_ever(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that there is fails, so the app rests; and nothing else could end that."""
    settings.TOKENHUB_PROBE = settings.TOKENHUB_RETRY = timedelta(milliseconds=10)
    launch(world, 2)
    world.work_until(lambda: Registration.objects.filter(state="registered").count() == 2)
    refuse(world, "cleanup", "cleanup_batch")
    bert = world.contact(emailaddress1="bert@example.com")
    world.mobile.post("devices/u0/sign-out")
    world.server.launch(installation_id="u1", token="token-u1", user={"id": "bert", "email": "bert@example.com"})
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    tasks.STEPS["cleanup"]()
    assert world.app.pauses.get().reason == "configuration"
    world.work_until(lambda: world.server.state("u1") == "registered", timeout=30)
    assert (bert, "token-u1") in world.held()
    assert {row.detail for row in Registration.objects.filter(state="retired")} == {"The cleanup was refused: HTTP 400"}


def test_single_ones_that_outlast_the_lease_are_no_outage(signed_out: World, settings: Settings) -> None:
    settings.TOKENHUB_LEASE, settings.TOKENHUB_CALL_DEADLINE = timedelta(seconds=2.7), timedelta(seconds=2)
    MobileApp.objects.update(batch_cleanup=False)
    signed_out.microsoft.add_fault("cleanup", times=None, delay=0.5)
    tasks.STEPS["cleanup"]()
    assert 1 <= Registration.objects.filter(cleaned_at__isnull=False).count() <= 2
    assert not signed_out.app.pauses.exists()
    signed_out.microsoft.clear_faults()
    signed_out.work_until(lambda: signed_out.held() == set())
