"""The one thing registry says upward: that something changed and work is waiting.

Sent on commit only, with `steps`: the names of the sync steps that have work now. sync answers with a nudge;
nobody listening loses nothing, since the database is the queue.
"""

from collections.abc import Iterable

from django.db import transaction
from django.dispatch import Signal

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
