"""Two real web servers: what one of them knows of a key, and what they count, holds for both."""

import io
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from django.core.management import call_command

from registry.models import ApiKey, MobileApp
from registry.services.keys import create_key
from registry.services.limits import SHARED
from tests.web import web_server

CACHE = 2.0  # seconds
QUOTA = 40
ENVIRONMENT = {
    "TOKENHUB_KEY_CACHE_SECONDS": str(CACHE),
    "TOKENHUB_LIMIT_SERVER_KEY": str(QUOTA),
    "TOKENHUB_LIMIT_ADDRESS": "3",
    "TOKENHUB_TRUSTED_PROXIES": "127.0.0.0/8",
}
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[list[str]]:
    with ExitStack() as servers:
        yield [
            servers.enter_context(web_server(tmp_path / f"{name}.log", ENVIRONMENT, workers=1))
            for name in ("one", "two")
        ]


def status(url: str, key: str, client: str = "192.0.2.3") -> int:
    """The answer for a device that there is not, asked for by a client behind a trusted proxy."""
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": client}
    return httpx2.get(f"{url}/api/v1/devices/x", headers=headers, trust_env=False, timeout=30).status_code


def test_a_revoked_key_is_refused_by_every_process_within_seconds(app: MobileApp, both: list[str]) -> None:
    key, other = create_key(app=app, kind="mobile"), create_key(app=app, kind="server")
    assert [status(url, key) for url in both] == [404, 404]
    revoked = time.monotonic()
    call_command("revoke_key", str(ApiKey.objects.get(kind="mobile").pk), stdout=io.StringIO())
    client = 0
    for url in both:
        while True:
            client += 1  # each asks once, so that no limit is met
            asked = time.monotonic()
            if status(url, key, f"198.51.{client // 250}.{client % 250}") == 401:
                break
            assert asked - revoked < CACHE + 1
            time.sleep(0.05)
    assert [status(url, other) for url in both] == [404, 404]


def test_both_count_together(app: MobileApp, both: list[str]) -> None:
    key = create_key(app=app, kind="server")
    one, other = both
    began = time.monotonic()
    assert [status(one, key) for _ in range(QUOTA)] == [404] * QUOTA
    time.sleep(5 * SHARED)
    got = []
    for _ in range(10):
        got.append(status(other, key))
        time.sleep(5 * SHARED)  # until the sums were taken over
    came_back = (time.monotonic() - began) * QUOTA / 60
    assert got[0] == 404  # it had not heard of this key yet
    assert got.count(404) <= 1 + came_back
    assert set(got) == {404, 429}


def test_each_client_of_a_trusted_proxy_counts_and_can_not_choose_who_it_is(app: MobileApp, both: list[str]) -> None:
    key = create_key(app=app, kind="mobile")
    for client in ("192.0.2.1", "192.0.2.2"):
        made_up = [f"198.51.100.{number}, {client}" for number in range(4)]
        assert [status(both[0], key, forwarded) for forwarded in made_up] == [404, 404, 404, 429]
