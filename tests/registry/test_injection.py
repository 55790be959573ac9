"""What somebody posts stays data: in headers, in the log, in answers. On the real server, which reads raw bytes."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from registry.models import MobileApp
from registry.services.keys import create_key
from tests.web import web_server

pytestmark = pytest.mark.django_db(transaction=True)
FORGED = "2026-01-01 00:00:00 CRITICAL forged"


class Raw:
    """Sends bytes as they are; gives the status line and the headers of the answer."""

    def __init__(self, url: str, key: str, log: Path) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port or 0)
        self.key = key
        self.log = log

    def send(self, line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
        lines = [line, b"Host: 127.0.0.1", b"Connection: close", b"Content-Length: %d" % len(body), *headers]
        with socket.create_connection(self._address, timeout=30) as connection:
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def raw(app: MobileApp, tmp_path: Path) -> Iterator[Raw]:
    log = tmp_path / "web.log"
    with web_server(log, workers=1) as url:
        yield Raw(url, create_key(app=app, kind="server"), log)


@pytest.mark.parametrize("path", ["/api/v1/x%0D%0A{}", "/api/v1/users/x%0A{}", "/api/v1/devices/%0D%0A{}", "/x%0A{}"])
def test_a_path_forges_no_line_of_the_log(raw: Raw, path: str) -> None:
    target = path.format(FORGED.replace(" ", "%20")).encode()
    answer = raw.send(b"GET %s HTTP/1.1" % target, b"Authorization: Bearer %s" % raw.key.encode())
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
    assert not [line for line in raw.lines() if line.startswith(FORGED)]


def test_headers_forge_neither_lines_of_the_log_nor_headers_of_the_answer(raw: Raw) -> None:
    for header in (b"Authorization: Bearer x\r%s", b"Installation-Secret: x\r%s", b"X-Forwarded-For: x\n%s"):
        answer = raw.send(b"GET /api/v1/devices/x HTTP/1.1", header % b"Set-Cookie: forged=1")
        assert answer.split(b" ")[1] in (b"400", b"401")
        assert b"forged" not in answer
    assert not [line for line in raw.lines() if "forged" in line]


def test_an_unknown_host_gets_a_problem_that_repeats_nothing(raw: Raw) -> None:
    answer = raw.send(b"GET /api/v1/devices/x HTTP/1.1", b"X-Forwarded-Host: evil.example")
    assert b"evil.example" not in answer
    with socket.create_connection(raw._address, timeout=30) as connection:
        connection.sendall(b"GET /api/v1/devices/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        told = connection.recv(65536)
    assert told.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in told
    assert b"evil.example" not in told


def test_a_body_forges_nothing_and_is_in_no_log(raw: Raw) -> None:
    body = b'{"installation_id": "a\\n%s", "platform": "android", "token": "hunter2\\r\\nX: y"}' % FORGED.encode()
    headers = (b"Authorization: Bearer %s" % raw.key.encode(), b"Content-Type: application/json")
    answer = raw.send(b"POST /api/v1/devices HTTP/1.1", *headers, body=body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"hunter2" not in answer
    log = raw.log.read_text()
    assert "hunter2" not in log
    assert raw.key not in log
    assert not [line for line in raw.lines() if line.startswith(FORGED)]


def test_more_than_a_mebibyte_is_not_read(raw: Raw) -> None:
    headers = (b"Authorization: Bearer %s" % raw.key.encode(), b"Content-Type: application/json")
    answer = raw.send(b"POST /api/v1/devices HTTP/1.1", *headers, body=b'"' + b"x" * (1024 * 1024) + b'"')
    assert answer.startswith(b"HTTP/1.1 413")
