"""One id from a phone's post to the call to Microsoft that it leads to.

The post has it while it is handled. What it changes keeps it (`Device.changed_by`), since the database is the queue,
and a batch of a step mixes the changes of many posts: what the planner writes of a device takes the device's id over
(`Registration.asked_by`), and a call tells in the log all the ids that it was made for.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_current: ContextVar[uuid.UUID | None] = ContextVar("correlation_id", default=None)
# W3C Trace Context: version, trace id, parent id, flags; later versions may append more.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", re.ASCII
)


def begin(traceparent: str = "") -> uuid.UUID:
    """The id of a request: the trace of its `traceparent` where that is a good one, else a new one."""
    given = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return uuid.UUID(hex=given[1]) if given else uuid.uuid4()


def current() -> uuid.UUID | None:
    """The id of what is being handled; None outside of a request."""
    return _current.get()


def origin() -> dict[str, Any]:
    """What is written with a change of a device: which post made it (None where no post did), and when."""
    from django.db.models.functions import Now  # the log's formatter needs this module before Django is there

    return {"changed_by": current(), "changed_at": Now()}


@contextmanager
def handling(correlation_id: uuid.UUID | None) -> Iterator[None]:
    """What happens within happens for this id."""
    token = _current.set(correlation_id)
    try:
        yield
    finally:
        _current.reset(token)
