"""Two phones with one installation id: detected, shown, and not flapping for ever."""

from datetime import timedelta

import pytest
from django.utils import timezone

from registry.models import Device
from tests.conftest import Api
from tests.sandbox_process import World


@pytest.fixture
def anna(world: World) -> str:
    return world.contact(emailaddress1="anna@example.com")


def post(api: Api, token: str) -> int:
    answer = api.launch(token=token, user={"id": "anna", "email": "anna@example.com"})
    return int(answer.status_code)


def take_turns(world: World) -> list[int]:
    return [post(world.server, token) for token in ["token-1", "token-2"] * 3]


def test_the_phone_that_is_there_stays_and_the_other_is_told(world: World, anna: str) -> None:
    # One change, three returns; then it is known, and the next return comes too soon.
    assert take_turns(world) == [201, 200, 200, 200, 200, 409]
    world.work_until(lambda: world.server.state() == "registered")
    assert world.held() == {(anna, "token-1")}
    problem = world.server.launch(token="token-2", user={"id": "anna"}).json()
    assert problem["type"] == "urn:tokenhub:problem:shared-installation"
    assert "new installation id" in problem["detail"]
    calls = len(world.microsoft.calls())
    for _ in range(3):
        assert [post(world.server, "token-1"), post(world.server, "token-2")] == [200, 409]
        world.work_for(0.3)
    assert len(world.microsoft.calls()) == calls
    assert world.server.get("devices/phone-1").json()["shared_since"]


def test_after_a_day_the_other_may_have_it(world: World, anna: str) -> None:
    take_turns(world)
    Device.objects.update(token_changed_at=timezone.now() - timedelta(hours=25))
    assert post(world.server, "token-2") == 200
    assert post(world.server, "token-1") == 409
    world.work_until(lambda: world.held() == {(anna, "token-2")})


def test_a_new_token_is_always_taken(world: World, anna: str) -> None:
    take_turns(world)
    assert post(world.server, "token-3") == 200
    world.work_until(lambda: world.held() == {(anna, "token-3")})


def test_when_no_token_has_come_back_for_long_it_is_one_phone_again(world: World) -> None:
    take_turns(world)
    Device.objects.update(token_returned_at=timezone.now() - timedelta(days=8))
    post(world.server, "token-3")
    assert world.server.get("devices/phone-1").json()["shared_since"] is None


def test_a_token_that_comes_back_once_is_nothing_unusual(world: World, anna: str) -> None:
    assert [post(world.server, token) for token in ("token-1", "token-2", "token-1")] == [201, 200, 200]
    world.work_until(lambda: world.held() == {(anna, "token-1")})
    assert Device.objects.get().shared_since is None
