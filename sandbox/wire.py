"""What goes between the HTTP front and the services: a call that came in, and its answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Incoming:
    """One call, its body read. `host` is the authority that the client addressed, e.g. `localhost:20443`.

    The handler fills `org_id`, `mobile_app_id` and `items` for the journal; `seq` and `at` are
    the call's number and time in it. A fault rule sets `outcome`: what becomes of the registrations in it.
    """

    kind: str
    host: str
    path: str
    query: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    seq: int = 0
    at: float = 0.0
    org_id: str | None = None
    mobile_app_id: str | None = None
    items: tuple[tuple[str | None, str | None], ...] = ()
    payload: Any = None
    outcome: str | None = None

    @property
    def base_url(self) -> str:
        """`https://host:port`, as the client sees it."""
        return f"https://{self.host}"


@dataclass(slots=True)
class Answer:
    """A status, headers, and a body that is sent as JSON (None: empty; bytes: as they are)."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body, separators=(",", ":")).encode()


class RefusedError(Exception):
    """The call is not acceptable; carries the answer that says so."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"refused with {answer.status}")
        self.answer = answer
