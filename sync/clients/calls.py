"""What a call is and how it went: for the log, for the counts, and for whoever looks for it at Microsoft's side.

A call has an id of its own, sent as `x-ms-client-request-id`, which Dynamics 365 keeps with what it notes of a request
(MicrosoftDocs/dynamics-365-unified-operations-public, service-request-tracing.md; the pages of Customer Insights -
Journeys name no header). It is also sent as a `traceparent` (W3C Trace Context), whose trace is the one change that the
call carries; a batch carries many, and is a trace of its own.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """`name`: which of the calls; `subject`: whose (an app's slug, an environment's name)."""

    name: str
    subject: str = ""


OTHER = Call("other")


@dataclass(frozen=True)
class Made:
    """A call that was made. `outcome` is ok, or what kind of RemoteError it was, in small letters; `detail` its text.

    `carries`: the correlation ids of the changes that it was made for.
    """

    call: Call
    request_id: uuid.UUID
    carries: tuple[uuid.UUID, ...]
    outcome: str
    seconds: float
    detail: str = ""


type Observe = Callable[[Made], None]

_carried: ContextVar[tuple[uuid.UUID, ...]] = ContextVar("carried", default=())


@contextmanager
def carrying(ids: Iterable[uuid.UUID | None]) -> Iterator[None]:
    """The calls within are made for these changes; None is one that nobody knows the origin of."""
    token = _carried.set(tuple(dict.fromkeys(known for known in ids if known is not None)))
    try:
        yield
    finally:
        _carried.reset(token)


def carried() -> tuple[uuid.UUID, ...]:
    """The changes that the present call is made for."""
    return _carried.get()


def trace_headers(request_id: uuid.UUID) -> dict[str, str]:
    """What a call of that id says of itself."""
    ids = carried()
    trace = ids[0] if len(ids) == 1 else request_id
    return {
        "x-ms-client-request-id": str(request_id),
        "traceparent": f"00-{trace.hex}-{request_id.hex[:16]}-01",
    }
