"""Webhooks: one attempt each, signed as developer-push-device-registration.md says."""

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import NoReturn

import httpx2

from sandbox.cij.handlers import decision_json
from sandbox.cij.processing import SUCCESS, Decision, Wanted
from sandbox.faults import CALLBACK, Action
from sandbox.memory import Memory

SENDERS = 8
TIMEOUT = 5.0
LOST = "lost"  # what the journal says of a callback that a fault rule kept back


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
    """Delivers what processing has decided, as the fault rules for callbacks let it."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._queue: asyncio.Queue[tuple[Wanted, Decision]] = asyncio.Queue()
        self._free = asyncio.Semaphore(SENDERS)

    def collect(self) -> None:
        """Queue the callbacks that have come up since the last time."""
        waiting = self._memory.cij.callbacks
        while waiting:
            self._queue.put_nowait(waiting.popleft())

    async def run(self) -> NoReturn:
        """Send what is queued, some at a time, until cancelled."""
        async with httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False) as client, asyncio.TaskGroup() as group:
            while True:
                work, decision = await self._queue.get()
                # A task each: one that is late keeps nobody waiting.
                group.create_task(self._send(client, work, decision))

    async def _send(self, client: httpx2.AsyncClient, work: Wanted, decision: Decision) -> None:
        """The steps are those of `faults.Action` for callbacks."""
        rule = self._memory.faults.take(CALLBACK, work.mobile_app_id, [work.token])
        action = rule.action if rule else Action()
        await asyncio.sleep(action.delay)
        settings, url = self._memory.settings, work.callback_url or ""
        style, encoding, key = settings.failure_reason_style, settings.signature_encoding, settings.signature_key
        body = decision_json(decision, style) | {
            "Signature": signature(url, work.api_token or "", encoding=encoding, key=key)
        }
        if action.drop_connection:
            self._memory.journal.callback(url, body, LOST)
            return
        if action.forged:
            lie = decision_json(_opposite(decision), style)
            await self._post(client, url, lie | {"Signature": signature(url, "guessed", encoding=encoding, key=key)})
        for _ in range(action.copies):
            await self._post(client, url, body, work.callback_headers)

    async def _post(
        self,
        client: httpx2.AsyncClient,
        url: str,
        body: dict[str, str | None],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        answer: int | str
        async with self._free:
            try:
                answer = (await client.post(url, json=body, headers=headers)).status_code
            except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
                # Once, and lost if it fails: "Any failure to execute a request causes the notification to be lost".
                answer = type(error).__name__
        self._memory.journal.callback(url, body, answer)


def _opposite(decision: Decision) -> Decision:
    return Decision(SUCCESS, None) if decision.reason else Decision("Failed", "DryRunSendingFailed")
