"""The webhook: once, signed."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sandbox.admin_client import Callback, SandboxAdmin
from sandbox.callbacks import signature
from tests.sandbox.process import Push


class Receiver:
    """A web server that keeps what it is sent, and answers with `answers` in turn."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], dict[str, str | None]]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(500 if "fail" in self.path else 202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


def tried(admin: SandboxAdmin, count: int) -> list[Callback]:
    ends = time.monotonic() + 10
    while len(callbacks := admin.callbacks()) < count:
        assert time.monotonic() < ends, callbacks
        time.sleep(0.05)
    return callbacks


def test_the_outcome_is_posted_with_a_signature(push: Push, admin: SandboxAdmin, receiver: Receiver) -> None:
    admin.set_outcomes({"bad": "DryRunSendingFailed"})
    url = f"{receiver.url}/hook?secret=1"
    headers = {"x-ms-callback-url": url, "x-ms-callback-url-headers": json.dumps({"X-Secret": "s3cret"})}
    push.post("devices", push.device("good"), headers)
    tried(admin, 1)
    push.post("devices", push.device("bad"), headers)
    assert [callback.answer for callback in tried(admin, 2)] == [202, 202]
    expected = hmac.new(push.api_token.encode(), url.encode(), hashlib.sha256).hexdigest()
    assert [body for _, _, body in receiver.received] == [
        {"Status": "Success", "FailureReason": None, "Signature": expected},
        {"Status": "Failed", "FailureReason": "DryRunSendingFailed", "Signature": expected},
    ]
    assert {(path, sent["x-secret"]) for path, sent, _ in receiver.received} == {("/hook?secret=1", "s3cret")}


def test_a_callback_that_fails_is_lost(push: Push, admin: SandboxAdmin, receiver: Receiver) -> None:
    push.post("devices", push.device("a"), {"x-ms-callback-url": f"{receiver.url}/fail"})
    push.post("devices", push.device("b"), {"x-ms-callback-url": "not a url"})
    push.post("devices", push.device("c"), {"x-ms-callback-url": "http://127.0.0.1:9/closed"})
    answers = {callback.answer for callback in tried(admin, 3)}
    assert 500 in answers
    assert "ConnectError" in answers
    time.sleep(0.3)
    assert len(receiver.received) == 1


def test_the_other_documented_name_of_the_header_can_be_the_one(
    push: Push, admin: SandboxAdmin, receiver: Receiver
) -> None:
    admin.settings(callback_header="x-ms-status-callback-url")
    both = {"x-ms-callback-url": f"{receiver.url}/one", "x-ms-status-callback-url": f"{receiver.url}/other"}
    push.post("devices", push.device(), both)
    tried(admin, 1)
    assert [path for path, _, _ in receiver.received] == ["/other"]


def test_a_callback_can_be_lost_late_doubled_and_preceded_by_a_forged_one(
    push: Push, admin: SandboxAdmin, receiver: Receiver
) -> None:
    for name, fault in (
        ("lost", {"drop_connection": "before"}),
        ("late", {"delay": 0.5}),
        ("doubled", {"copies": 2}),
        ("forged", {"forged": True}),
    ):
        admin.add_fault("callback", token=name, **fault)
        headers = {"x-ms-callback-url-headers": json.dumps({"X-Secret": name})}
        url = f"{receiver.url}/{name}"
        push.post("devices", push.device(name), {"x-ms-callback-url": url, **headers})
    began = time.time()
    callbacks = tried(admin, 6)
    assert sorted(callback.answer for callback in callbacks if callback.answer != 202) == ["lost"]
    [late] = [callback for callback in callbacks if callback.url.endswith("late")]
    assert late.at - began > 0.4
    posted = [(path, sent.get("x-secret"), body["Status"]) for path, sent, body in receiver.received]
    assert sorted(path for path, _, _ in posted) == ["/doubled", "/doubled", "/forged", "/forged", "/late"]
    # The forger does not know the secret headers, and the true one follows.
    assert [row for row in posted if row[0] == "/forged"] == [
        ("/forged", None, "Failed"),
        ("/forged", "forged", "Success"),
    ]
    key = push.api_token.encode()
    signed = [
        hmac.new(key, f"{receiver.url}{path}".encode(), hashlib.sha256).hexdigest() == body["Signature"]
        for path, sent, body in receiver.received
    ]
    assert signed.count(False) == 1


@pytest.mark.parametrize("value", ["x", "[]", '{"a": 1}'])
def test_headers_that_are_no_dictionary_of_strings_are_refused(push: Push, value: str) -> None:
    headers = {"x-ms-callback-url": "http://127.0.0.1:9/", "x-ms-callback-url-headers": value}
    assert push.post("devices", push.device(), headers).status_code == 400


def test_every_encoding_of_the_signature_can_be_played() -> None:
    url, token = "https://example.com/hook", base64.b64encode(b"key?>").decode()
    as_text = hmac.new(token.encode(), url.encode(), hashlib.sha256).digest()
    decoded = hmac.new(b"key?>", url.encode(), hashlib.sha256).digest()
    assert signature(url, token, encoding="hex", key="utf8") == as_text.hex()
    assert signature(url, token, encoding="base64", key="utf8") == base64.b64encode(as_text).decode()
    assert signature(url, token, encoding="base64url", key="base64") == base64.urlsafe_b64encode(decoded).decode()
    assert signature(url, "no base64!", encoding="hex", key="base64") == signature(
        url, "no base64!", encoding="hex", key="utf8"
    )
