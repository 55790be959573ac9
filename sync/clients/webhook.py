"""A signed webhook, as the specification Standard Webhooks (standardwebhooks.com) has it: receivers have a library.

The signature is over id, time and body; the id is the same for each try of one message.
"""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from sync.clients.calls import Call
from sync.clients.http import Http

PREFIX = "whsec_"


def post(http: Http, url: str, secret: str, message_id: str, at: int, payload: Any) -> None:
    """Deliver a message; `at` is the time of this try, in seconds since 1970. Raises RemoteError."""
    body = json.dumps(payload, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{signature(secret, message_id, at, body)}",
    }
    http.call("POST", url, headers=headers, body=body, call=Call("webhook"))


def signature(secret: str, message_id: str, at: int, body: bytes) -> str:
    """HMAC-SHA256 in base64."""
    signed = f"{message_id}.{at}.".encode() + body
    return base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that sign: of `whsec_…` what its base64 holds. Raises ValueError where that is none."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("the secret is not base64 behind whsec_") from None
