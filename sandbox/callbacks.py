"""Webhooks: one attempt each, signed as developer-push-device-registration.md says."""

import asyncio
import base64
import binascii
import hashlib
import hmac
from typing import NoReturn

import httpx2

from sandbox.cij.handlers import decision_json
from sandbox.cij.processing import Decision, Wanted
from sandbox.memory import Memory

SENDERS = 8
TIMEOUT = 5.0


def signature(url: str, api_token: str, *, encoding: str, key: str) -> str:
    """HMAC-SHA256 of the callback URL; the ApiToken is the key, as UTF-8 text or decoded from base64 where it is such.

    `encoding` is `hex`, `base64` or `base64url`: the documentation does not say which.
    """
    secret = api_token.encode()
    if key == "base64":
        try:
            secret = base64.b64decode(api_token, validate=True)
        except binascii.Error:
            secret = api_token.encode()
    digest = hmac.new(secret, url.encode(), hashlib.sha256).digest()
    if encoding == "hex":
        return digest.hex()
    return (base64.b64encode if encoding == "base64" else base64.urlsafe_b64encode)(digest).decode()


class Sender:
    """Delivers what processing has decided."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._queue: asyncio.Queue[tuple[Wanted, Decision]] = asyncio.Queue()

    def collect(self) -> None:
        """Queue the callbacks that have come up since the last time."""
        waiting = self._memory.cij.callbacks
        while waiting:
            self._queue.put_nowait(waiting.popleft())

    async def run(self) -> None:
        """Send what is queued, some at a time, until cancelled."""
        async with httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False) as client, asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._send_all(client))

    async def _send_all(self, client: httpx2.AsyncClient) -> NoReturn:
        while True:
            await self._send(client, *await self._queue.get())

    async def _send(self, client: httpx2.AsyncClient, work: Wanted, decision: Decision) -> None:
        settings, url = self._memory.settings, work.callback_url or ""
        body = decision_json(decision, settings.failure_reason_style) | {
            "Signature": signature(
                url, work.api_token or "", encoding=settings.signature_encoding, key=settings.signature_key
            )
        }
        answer: int | str
        try:
            answer = (await client.post(url, json=body, headers=work.callback_headers)).status_code
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            # Once, and lost if it fails: "Any failure to execute a request causes the notification to be lost".
            answer = type(error).__name__
        self._memory.journal.callback(url, body, answer)
