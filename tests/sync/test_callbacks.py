"""Every form that CI-J's signature may have, and none that it may not."""

import base64
import hmac

import pytest

from sync.clients.callbacks import Callback

CALLBACK = Callback("https://push.example.com/cij/callbacks/x", "s3cret")
KEY = "a-key~not-base64"


def digest(key: bytes) -> bytes:
    return hmac.digest(key, CALLBACK.url.encode(), "sha256")


@pytest.mark.parametrize(
    "signature",
    [
        digest(KEY.encode()).hex(),
        digest(KEY.encode()).hex().upper(),
        base64.b64encode(digest(KEY.encode())).decode(),
        base64.urlsafe_b64encode(digest(KEY.encode())).decode(),
        base64.urlsafe_b64encode(digest(KEY.encode())).decode().rstrip("="),
    ],
)
def test_each_encoding_of_the_signature_is_taken(signature: str) -> None:
    assert CALLBACK.is_signed(signature, KEY)


def test_a_key_that_is_base64_may_have_been_decoded_first() -> None:
    key = base64.b64encode(b"sixteen bytes...").decode()
    assert CALLBACK.is_signed(digest(b"sixteen bytes...").hex(), key)
    assert CALLBACK.is_signed(digest(key.encode()).hex(), key)


@pytest.mark.parametrize(
    "signature", ["", "é", "0" * 64, digest(b"another key").hex(), digest(KEY.encode()).hex()[:-1]]
)
def test_anything_else_is_refused(signature: str) -> None:
    assert not CALLBACK.is_signed(signature, KEY)


def test_the_second_name_of_the_header_is_sent_on_request_only() -> None:
    assert "x-ms-status-callback-url" not in CALLBACK.headers()
    assert Callback("u", "s", both_names=True).headers()["x-ms-status-callback-url"] == "u"
