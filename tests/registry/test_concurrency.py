"""Fifty posts at once to three processes of the web server: one row, no 500, no deadlock, and the right winner."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from registry.models import Device, MobileApp, MobileUser
from registry.services.keys import create_key
from tests.web import web_server

AT_ONCE = 50
pytestmark = pytest.mark.django_db(transaction=True)


class Fleet:
    """Posts launches with a server key, all at once."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def launch(self, **fields: Any) -> httpx2.Response:
        body = {"installation_id": "phone", "platform": "android", "token": "token", **fields}
        return self._client.post("devices", json=body)

    def at_once(self, launches: list[dict[str, Any]]) -> Counter[str]:
        """Post all; return how often each result came. Every answer has to be one."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda fields: self.launch(**fields), launches))
        assert {answer.status_code for answer in answers} <= {200, 201}, [answer.text for answer in answers]
        return Counter(answer.json()["result"] for answer in answers)


@pytest.fixture
def fleet(app: MobileApp, tmp_path: Path) -> Iterator[Fleet]:
    log = tmp_path / "web.log"
    # Fifty posts in any order do look like two phones with one id, which has tests of its own.
    with web_server(log, {"TOKENHUB_SHARED_RETURNS": "1000000"}, workers=3) as url:
        headers = {"Authorization": f"Bearer {create_key(app=app, kind='server')}"}
        limits = httpx2.Limits(max_connections=AT_ONCE)
        with httpx2.Client(
            base_url=f"{url}/api/v1/", headers=headers, timeout=60, limits=limits, trust_env=False
        ) as client:
            yield Fleet(client)
    assert "Traceback" not in log.read_text()


def test_one_installation_is_made_once(fleet: Fleet) -> None:
    results = fleet.at_once([{"user": {"id": "anna"}}] * AT_ONCE)
    assert results == {"created": 1, "unchanged": AT_ONCE - 1}
    device = Device.objects.get()
    assert device.user == MobileUser.objects.get()
    assert device.revision == 1


def test_one_token_of_two_installations_has_one_living_holder(fleet: Fleet) -> None:
    names = ["one", "two"]
    fleet.at_once([{"installation_id": names[number % 2]} for number in range(AT_ONCE)])
    assert Device.objects.count() == 2
    (living,) = Device.objects.filter(retired_at=None)
    (retired,) = Device.objects.exclude(retired_at=None)
    assert (living.token, retired.retired_reason) == ("token", "token_moved")
    # Whoever posts last has it.
    assert fleet.launch(installation_id=retired.installation_id).json()["result"] == "updated"
    assert Device.objects.get(retired_at=None) == retired


def test_of_a_user_switch_the_latest_post_wins_whenever_it_comes(fleet: Fleet) -> None:
    fleet.launch(sequence=0)
    users = ["anna", "bert", "cleo"]
    launches = [{"sequence": number, "user": {"id": users[number % 3]}} for number in range(1, AT_ONCE + 1)]
    results = fleet.at_once(launches[::-1])
    device = Device.objects.select_related("user").get()
    assert device.sequence == AT_ONCE
    assert device.user
    assert device.user.external_id == users[AT_ONCE % 3]
    assert results["updated"] + results["unchanged"] + results["stale"] == AT_ONCE
    assert MobileUser.objects.count() <= 3


def test_phones_that_swap_tokens_and_users_all_get_through(fleet: Fleet) -> None:
    launches = [
        {"installation_id": f"p{number % 5}", "token": f"t{number % 7}", "user": {"id": f"u{number % 3}"}}
        for number in range(AT_ONCE)
    ]
    for _ in range(3):
        fleet.at_once(launches)
    living = Device.objects.filter(retired_at=None)
    assert living.count() == len(set(living.values_list("token", flat=True)))
    assert Device.objects.count() == 5
