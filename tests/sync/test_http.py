"""One deadline bounds a call, whatever the far end does; what is not an answer is none."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sync.clients.errors import Denied, Refused, RemoteError, Throttled, Unavailable
from sync.clients.http import Http, parse

DEADLINE = 0.5


@pytest.fixture
def http() -> Iterator[Http]:
    client = Http(DEADLINE)
    yield client
    client.close()


@pytest.fixture
def far_end() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Makes servers of one connection: what is given speaks on it."""
    listeners: list[socket.socket] = []

    def serve(speak: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                with contextlib.suppress(OSError):  # the caller had enough
                    speak(connection)

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield serve
    for listener in listeners:
        listener.close()


def trickle(head: bytes) -> Callable[[socket.socket], None]:
    def speak(connection: socket.socket) -> None:
        connection.sendall(head)
        ends = time.monotonic() + 10 * DEADLINE  # whoever waits for ever fails
        while time.monotonic() < ends:
            connection.sendall(b"x")
            time.sleep(0.05)

    return speak


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b""],
    ids=["headers", "body", "status line"],
)
def test_an_answer_that_trickles_in_is_given_up_at_the_deadline(
    http: Http, far_end: Callable[..., str], head: bytes
) -> None:
    with pytest.raises(Unavailable, match="no whole answer within"):
        http.call("GET", far_end(trickle(head)))


def test_silence_is_given_up_at_the_deadline_and_says_so(http: Http, far_end: Callable[..., str]) -> None:
    with pytest.raises(Unavailable, match="no whole answer within"):
        http.call("GET", far_end(lambda connection: time.sleep(10)))


def test_an_endless_answer_is_cut_off(http: Http, far_end: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.clients.http.MAX_ANSWER", 1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    with pytest.raises(Unavailable, match="longer than"):
        http.call("GET", far_end(lambda connection: connection.sendall(head + b"x" * 50_000)))


def test_nobody_listens(http: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match="ConnectError"):
        http.call("GET", f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"400 Bad Request\r\n", Refused),
        (b"401 Unauthorized\r\n", Denied),
        (b"403 Forbidden\r\n", Denied),
        (b"404 Not Found\r\n", Refused),
        (b"408 Request Timeout\r\n", Unavailable),
        (b"429 Too Many Requests\r\nRetry-After: 7\r\n", Throttled),
        (b"500 Internal Server Error\r\n", Unavailable),
        (b"503 Service Unavailable\r\n", Unavailable),
        (b"503 Service Unavailable\r\nRetry-After: 7\r\n", Throttled),
        (b"302 Found\r\nLocation: http://elsewhere.example/\r\n", Unavailable),
    ],
    ids=lambda value: value.decode().split("\r")[0] if isinstance(value, bytes) else "",
)
def test_what_an_answer_means(
    http: Http, far_end: Callable[..., str], answer: bytes, expected: type[RemoteError]
) -> None:
    url = far_end(lambda connection: connection.sendall(b"HTTP/1.1 " + answer + b"Content-Length: 0\r\n\r\n"))
    with pytest.raises(expected) as raised:
        http.call("GET", url)
    assert type(raised.value) is expected
    if isinstance(raised.value, Throttled):
        assert raised.value.retry_after == 7


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_no_answer(content: bytes) -> None:
    with pytest.raises(Unavailable):
        parse(content)


@pytest.mark.parametrize("moved", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    http: Http, far_end: Callable[[Callable[[socket.socket], None]], str], moved: int
) -> None:
    called: list[bool] = []
    elsewhere = far_end(lambda _: called.append(True))
    head = f"HTTP/1.1 {moved} Moved\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"
    url = far_end(lambda connection: connection.sendall(head.encode()))
    with pytest.raises(Unavailable, match=f"HTTP {moved}"):
        http.call("GET", url)
    assert called == []
