"""tokenhub's ingest API as the phones and the app's server call it, patiently."""

import asyncio
import time
from collections import Counter
from typing import Any

import httpx2

from sandbox.demo.stack import DemoError

PATIENCE = 90.0  # seconds of trying again before an operation is given up: a server may be on its way back
CONCURRENCY = 24
RETRIED = frozenset({429, 500, 502, 503, 504})
LONGEST_WAIT = 3.0


class UnexpectedAnswerError(DemoError):
    """tokenhub answered what the API's description does not provide for, or not at all for too long."""


class Api:
    """`as_server` names users, the mobile key does not. Answers that say "later" and broken connections are retried.

    A request is given up, and repeated, after `timeout` seconds. The moment that a method returns is when it was first
    asked for, or with `from_answer` when it was answered: since then tokenhub is bound to it.

    The secrets that the first answers hand out are kept, as every phone keeps its own, and shown with the mobile key.
    """

    def __init__(
        self,
        url: str,
        *,
        server_key: str,
        mobile_key: str,
        timeout: float = 15.0,
        patience: float = PATIENCE,
        from_answer: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        limits = httpx2.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
        self._client = httpx2.AsyncClient(
            base_url=f"{url}/api/v1/", limits=limits, timeout=timeout, trust_env=False, transport=transport
        )
        self._patience = patience
        self._from_answer = from_answer
        self._keys = {True: server_key, False: mobile_key}
        self._secrets: dict[str, str] = {}
        self._free = asyncio.Semaphore(CONCURRENCY)
        self.answers = 0
        self.retries = 0
        self.results: Counter[str] = Counter()
        self.durations: list[float] = []

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def launch(self, body: dict[str, Any], *, as_server: bool) -> tuple[float, str]:
        """Post a launch; return when (seconds since the epoch), and `created`, `updated` or `unchanged`."""
        began = time.time()
        installation = str(body["installation_id"])
        answer = await self._call(
            "POST", "devices", {200, 201}, as_server=as_server, json=body, installation=installation
        )
        told = answer.json()
        if secret := told.get("installation_secret"):
            self._secrets[installation] = secret
        result = str(told["result"])
        self.results[result] += 1
        return self._moment(began), result

    def is_secured(self, installation: str) -> bool:
        """Whether the installation has its secret."""
        return installation in self._secrets

    async def sign_out(self, installation: str) -> float:
        """Sign out with the mobile key; return when."""
        began = time.time()
        path = f"devices/{installation}/sign-out"
        await self._call("POST", path, {200}, as_server=False, installation=installation)
        return self._moment(began)

    async def delete(self, installation: str) -> float:
        """Delete the installation with the mobile key; return when."""
        began = time.time()
        await self._call("DELETE", f"devices/{installation}", {204}, as_server=False, installation=installation)
        return self._moment(began)

    async def events(self, installation: str, events: dict[str, Any] | list[dict[str, Any]]) -> None:
        """Report one event or several of an installation with the mobile key."""
        answer = await self._call("POST", "events", {202}, as_server=False, json=events, installation=installation)
        refused = [result for result in answer.json()["results"] if result["result"] == "error"]
        if refused:
            raise UnexpectedAnswerError(f"POST events: {refused[0]['errors']}")

    async def state(self, installation: str) -> str:
        """The state of an installation's registration; "deleted" where there is no such device any more."""
        answer = await self._call("GET", f"devices/{installation}", {200, 404}, as_server=True)
        return "deleted" if answer.status_code == 404 else str(answer.json()["registration"]["state"])

    def _moment(self, began: float) -> float:
        return time.time() if self._from_answer else began

    async def _call(
        self, method: str, path: str, expected: set[int], *, as_server: bool, json: Any = None, installation: str = ""
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self._keys[as_server]}"}
        if not as_server and installation in self._secrets:
            headers["Installation-Secret"] = self._secrets[installation]
        gives_up = time.monotonic() + self._patience
        wait = 0.2
        while True:
            answer: httpx2.Response | None = None
            async with self._free:
                began = time.monotonic()
                try:
                    answer = await self._client.request(method, path, json=json, headers=headers)
                except httpx2.TransportError as error:
                    trouble = type(error).__name__
            if answer is not None:
                self.answers += 1
                self.durations.append(time.monotonic() - began)
                if answer.status_code in expected:
                    return answer
                trouble = f"{answer.status_code} {answer.text[:200]}"
                if answer.status_code not in RETRIED:
                    raise UnexpectedAnswerError(f"{method} {path}: {trouble}")
            if time.monotonic() > gives_up:
                raise UnexpectedAnswerError(f"{method} {path}: for {self._patience:.0f} s: {trouble}")
            self.retries += 1
            await asyncio.sleep(_asked_for(answer) or wait)
            wait = min(LONGEST_WAIT, wait * 2)


def _asked_for(answer: httpx2.Response | None) -> float | None:
    """The pause that the server asks for, in seconds."""
    value = answer.headers.get("retry-after", "") if answer is not None else ""
    return min(float(value), 30.0) if value.isdecimal() else None
