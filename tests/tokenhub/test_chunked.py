"""Bodies without their length, on the real server."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from registry.models import Device, MobileApp
from registry.services.keys import create_key
from tests.web import web_server

pytestmark = pytest.mark.django_db(transaction=True)
LAUNCH = b'{"installation_id": "phone", "platform": "android", "token": "token", "sequence": 7}'


@pytest.fixture
def server(app: MobileApp, tmp_path: Path) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {create_key(app=app, kind='server')}", "Content-Type": "application/json"}
    with (
        web_server(tmp_path / "web.log", workers=1) as url,
        httpx2.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client,
    ):
        yield client


def in_chunks(server: httpx2.Client, path: str, body: bytes, size: int = 7) -> Any:
    answer = server.post(path, content=(body[start : start + size] for start in range(0, len(body), size)))
    assert "content-length" not in answer.request.headers
    return answer


def test_a_body_in_chunks_is_taken_like_any_other(server: httpx2.Client) -> None:
    assert in_chunks(server, "/api/v1/devices", LAUNCH).json()["result"] == "created"
    assert in_chunks(server, "/api/v1/devices/phone/sign-out", b'{"sequence": 3}').json()["result"] == "stale"
    assert Device.objects.get().sequence == 7


def test_one_that_is_too_long_is_refused_all_the_same(server: httpx2.Client) -> None:
    assert in_chunks(server, "/api/v1/devices", b" " * (1024 * 1024 + 1), 65_536).status_code == 413
    assert in_chunks(server, "/api/v1/devices/import", b" " * (9 * 1024 * 1024), 65_536).status_code == 413


def test_no_second_request_hides_in_a_body_that_says_two_lengths(server: httpx2.Client) -> None:
    address = urlsplit(str(server.base_url))
    hidden = b"DELETE /api/v1/devices/phone HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head = b"POST /api/v1/devices HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 5\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    assert answer.count(b"HTTP/1.1 ") == 1
