"""Cleanups that CI-J refuses: one token's, or everybody's."""

import pytest

from registry.models import Registration
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
