"""What happened, in order: calls, the moments at which their work took effect, events, callbacks.

One sequence numbers all of it, so that a test can ask whether one thing came before another across the kinds. No
ApiToken is ever put in.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One call to Microsoft's side. `status` is None where the connection was dropped before any answer.

    `items` are the pairs of user id and device token that a registration or cleanup named, as sent; the last two are
    the headers by which the caller finds the call again.
    """

    seq: int
    at: float
    kind: str
    org_id: str | None
    mobile_app_id: str | None
    status: int | None
    items: tuple[tuple[str | None, str | None], ...]
    fault: str | None
    client_request_id: str | None = None
    traceparent: str | None = None


class Effect(NamedTuple):
    """The moment at which CI-J did what it had accepted: `kind` is `register` or `cleanup`.

    `at` is the time in seconds since the epoch, `call_seq` the call that asked for it. `outcome` is `Success`, `Failed`
    or `Pending` of a registration (with its `reason`), `Removed` or `NothingThere` of a cleanup. `held` tells whether
    the triple is held after it.
    """

    seq: int
    at: float
    kind: str
    mobile_app_id: str
    user_id: str
    token: str | None
    outcome: str
    reason: str | None
    held: bool
    call_seq: int
    request_id: str | None


class Event(NamedTuple):
    """An interaction event as it was received."""

    seq: int
    at: float
    org_id: str
    tracking_id: str
    device_token: str
    status: int | str


class Callback(NamedTuple):
    """One attempt to deliver a callback; `answer` is the HTTP status, or the name of the error that lost it.

    `lost`: a fault rule kept it back.
    """

    seq: int
    at: float
    url: str
    body: dict[str, str | None]
    answer: int | str


class Journal:
    """Append-only lists under one rising sequence, which starts at 1."""

    def __init__(self) -> None:
        self.seq = 0
        self.calls: list[Call] = []
        self.effects: list[Effect] = []
        self.events: list[Event] = []
        self.callbacks: list[Callback] = []

    def next(self) -> int:
        """The next number of the sequence."""
        self.seq += 1
        return self.seq

    def event(self, org_id: str, tracking_id: str, device_token: str, status: int | str) -> None:
        """Note an event that was accepted."""
        self.events.append(Event(self.next(), time.time(), org_id, tracking_id, device_token, status))

    def callback(self, url: str, body: dict[str, str | None], answer: int | str) -> None:
        """Note a callback that was tried."""
        self.callbacks.append(Callback(self.next(), time.time(), url, body, answer))

    def dump(self) -> dict[str, Any]:
        """All of it as plain lists, for the snapshot."""
        return {"seq": self.seq, **{name: list(map(list, getattr(self, name))) for name in _KINDS}}

    def load(self, data: dict[str, Any]) -> None:
        """The opposite of `dump`; TypeError, KeyError or ValueError where the data is damaged."""
        self.seq = int(data["seq"])
        for name, make in _KINDS.items():
            setattr(self, name, [make(row) for row in data[name]])


def _call(row: list[Any]) -> Call:
    return Call(*[*row[:6], tuple((user, token) for user, token in row[6]), *row[7:]])


_KINDS: dict[str, Callable[[list[Any]], object]] = {
    "calls": _call,
    "effects": lambda row: Effect(*row),
    "events": lambda row: Event(*row),
    "callbacks": lambda row: Callback(*row),
}


def page[T: Call | Effect | Event | Callback](rows: Sequence[T], after: int, limit: int) -> Sequence[T]:
    """At most `limit` rows whose seq is above `after`, in order."""
    start = bisect_right(rows, after, key=attrgetter("seq"))
    return rows[start : start + limit]
