"""One way to make an HTTPS call: verified, bounded in time and size, its failure put into our own terms."""

import asyncio
import json
import os
import ssl
import threading
import time
import uuid
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from sync.clients.calls import OTHER, Call, Made, Observe, carried, trace_headers
from sync.clients.errors import Denied, Refused, RemoteError, Throttled, Unavailable

MAX_ANSWER = 16 * 1024 * 1024  # bytes; 5,000 Dataverse rows of a few columns stay far below
DEFAULT_RETRY_AFTER = 30.0
MAX_RETRY_AFTER = 3600.0


def ssl_context() -> ssl.SSLContext:
    """Verify always. SSL_CERT_FILE names the CA bundle where it is set, else the system's is used."""
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or None)


def obstacle() -> str:
    """What in the environment keeps every call from being made; empty where nothing does."""
    try:
        context = ssl_context()
    except OSError as error:  # ssl.SSLError is one
        return f"SSL_CERT_FILE names no file with certificates that can be read: {error.strerror or error}"
    try:
        httpx2.Client(verify=context).close()
    except (ValueError, ImportError):  # their texts quote the address, which may hold a password
        return "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names no proxy that calls can go through"
    return ""


class Http:
    """This process's connections, kept alive. One a process, made after the fork.

    Calls run on an event loop in a thread of its own: only there can one deadline bound a whole call, however slowly
    its answer trickles in, and many calls be in the air at once. Callers wait as for any function.
    """

    def __init__(self, deadline: float, observe: Observe | None = None) -> None:
        """`deadline`, in seconds, is for each call as a whole. `observe` is told of each, in the loop's thread."""
        self._deadline = deadline
        self._observe = observe
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)
        self._thread.start()
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
        self._client = httpx2.AsyncClient(verify=ssl_context(), timeout=None, limits=limits, follow_redirects=False)

    def run[T](self, calls: Coroutine[Any, Any, T]) -> T:
        """Wait for what is done with `acall`."""
        return self.start(calls).result()

    def start[T](self, calls: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin what is done with `acall`, and go on meanwhile."""
        return asyncio.run_coroutine_threadsafe(calls, self._loop)

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        extensions: Mapping[str, Any] | None = None,
        call: Call = OTHER,
    ) -> bytes:
        """Make one call and return the body of its good answer (2xx). `body` is sent as JSON, bytes as they are.

        Raises RemoteError.
        """
        return self.run(self.acall(method, url, headers=headers, body=body, extensions=extensions, call=call))

    async def acall(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        extensions: Mapping[str, Any] | None = None,
        call: Call = OTHER,
    ) -> bytes:
        """As `call`, on the loop."""
        request_id, began = uuid.uuid4(), time.perf_counter()
        outcome, detail = "unavailable", ""
        try:
            content = await self._send(method, url, {**(headers or {}), **trace_headers(request_id)}, body, extensions)
            outcome = "ok"
        except RemoteError as error:
            outcome, detail = type(error).__name__.lower(), str(error)
            raise
        finally:
            if self._observe is not None:
                self._observe(Made(call, request_id, carried(), outcome, time.perf_counter() - began, detail))
        return content

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: Any, extensions: Mapping[str, Any] | None
    ) -> bytes:
        sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
        try:
            async with (
                asyncio.timeout(self._deadline),
                self._client.stream(method, url, headers=headers, **sent, extensions=extensions) as response,
            ):
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER:
                        raise Unavailable(f"the answer is longer than {MAX_ANSWER} bytes")
                status, answered = response.status_code, response.headers
        except TimeoutError:
            raise Unavailable(f"no whole answer within {self._deadline:.0f} s at {httpx2.URL(url).host}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unavailable(f"{type(error).__name__} at {httpx2.URL(url).host}") from None
        if not 200 <= status < 300:
            raise failure(status, answered, content)
        return bytes(content)

    def close(self) -> None:
        """Close the connections and end the thread."""
        self.run(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def parse(content: bytes) -> Any:
    """The JSON of a good answer. Raises Unavailable where it is none: the far end may have acted all the same."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Unavailable("the answer is not JSON") from None


def plain(text: str) -> str:
    """A far end's words, made safe to store and show: printable, and not endless."""
    return "".join(character for character in text if character.isprintable()).strip()[:500]


def failure(status: int, headers: Mapping[str, str], content: bytes | bytearray) -> RemoteError:
    """The error that an answer means."""
    text = f"HTTP {status}{_error_code(content)}"
    if status in (401, 403):
        return Denied(text)
    if status == 429 or (status == 503 and "retry-after" in headers):
        # A gateway's 503 does not say how far the call had come.
        return Throttled(text, retry_after(headers.get("retry-after", "")), may_have_acted=status == 503)
    if 400 <= status < 500 and status != 408:
        return Refused(text)
    return Unavailable(text)


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for (a number or a date), bounded; a default where it says nothing."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return DEFAULT_RETRY_AFTER
    return min(max(seconds, 1.0), MAX_RETRY_AFTER) if seconds == seconds else DEFAULT_RETRY_AFTER


def _error_code(content: bytes | bytearray) -> str:
    """The code of an OData error; messages may quote what was asked for, so they are left out."""
    try:
        code = json.loads(content)["error"]["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f" ({plain(code)[:32]})" if isinstance(code, str) else ""
