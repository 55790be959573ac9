"""One way to make an HTTPS call: verified, bounded in time and size, its failure put into our own terms."""

import json
import os
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from sync.clients.errors import Denied, Refused, RemoteError, Throttled, Unavailable

MAX_ANSWER = 16 * 1024 * 1024  # bytes; 5,000 Dataverse rows of a few columns stay far below
DEFAULT_RETRY_AFTER = 30.0
MAX_RETRY_AFTER = 3600.0


def ssl_context() -> ssl.SSLContext:
    """Verify always. SSL_CERT_FILE names the CA bundle where it is set, else the system's is used."""
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or None)


def timeout(deadline: float) -> httpx2.Timeout:
    """Time-outs of the single operations, so that their sum stays near `deadline` seconds."""
    return httpx2.Timeout(deadline / 3, connect=min(5.0, deadline / 3))


def new_client(deadline: float) -> httpx2.Client:
    """A client with kept-alive connections; `deadline` in seconds bounds each call. One per process, after the fork."""
    return httpx2.Client(verify=ssl_context(), timeout=timeout(deadline), follow_redirects=False)


def call(
    client: httpx2.Client,
    method: str,
    url: str,
    *,
    deadline: float,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Any:
    """Make one call and return its JSON, or None where a good answer has no body. Raises RemoteError.

    `deadline` (seconds) is for the whole call: an answer that trickles in more slowly is given up.
    """
    ends = time.monotonic() + deadline
    try:
        with client.stream(method, url, headers=headers, json=body) as response:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER:
                    raise Unavailable(f"the answer is longer than {MAX_ANSWER} bytes")
                if time.monotonic() > ends:
                    raise Unavailable(f"the answer took longer than {deadline:.0f} s")
            status, answered = response.status_code, response.headers
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unavailable(f"{type(error).__name__} at {httpx2.URL(url).host}") from None
    return parse(status, answered, bytes(content))


def parse(status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """The JSON of a good answer; raises RemoteError for any other."""
    if not 200 <= status < 300:
        raise failure(status, headers, content)
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Unavailable(f"the answer ({status}) is not JSON") from None


def plain(text: str) -> str:
    """A far end's words, made safe to store and show: printable, and not endless."""
    return "".join(character for character in text if character.isprintable()).strip()[:500]


def failure(status: int, headers: Mapping[str, str], content: bytes) -> RemoteError:
    """The error that an answer means."""
    text = f"HTTP {status}{_error_code(content)}"
    if status in (401, 403):
        return Denied(text)
    if status == 429 or (status == 503 and "retry-after" in headers):
        return Throttled(text, retry_after(headers.get("retry-after", "")))
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


def _error_code(content: bytes) -> str:
    """The code of an OData error; messages may quote what was asked for, so they are left out."""
    try:
        code = json.loads(content)["error"]["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f" ({plain(code)[:32]})" if isinstance(code, str) else ""
