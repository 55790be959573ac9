"""The one thing registry says upward: that something changed and work is waiting.

Sent on commit only, with `steps`: the names of the sync steps that have work now. sync answers with a nudge;
nobody listening loses nothing, since the database is the queue.
"""

import uuid
from collections.abc import Iterable

from django.db import transaction
from django.dispatch import Signal

from registry.services import correlation
from registry.services.soon import Soon

TOGETHER = 0.02  # seconds

work_waiting = Signal()


def announce(steps: Iterable[str]) -> None:
    """Say after the current transaction commits that `steps` have work."""
    names = frozenset(steps)
    if names:
        # Robust: the change is committed, whatever becomes of the nudge.
        transaction.on_commit(lambda: say(names), robust=True)


def say(steps: Iterable[str]) -> None:
    """Say at once that `steps` have work: the change is committed already."""
    work_waiting.send_robust(sender=None, steps=frozenset(steps))


def say_soon(steps: Iterable[str]) -> None:
    """As `say`, for whoever does not wait for those who listen: once for all that has work within a moment, and for the
    first post that made some. A process that ends in that moment does not say it."""
    for step in steps:
        _unsaid.setdefault(step, correlation.current())
    _saying.ask()


def _say_all() -> None:
    while _unsaid:
        step, correlation_id = _unsaid.popitem()
        with correlation.handling(correlation_id):
            say([step])


_unsaid: dict[str, uuid.UUID | None] = {}
_saying = Soon(_say_all, seconds=TOGETHER, name="nudges")
