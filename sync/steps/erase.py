"""Erase: bring erasures to their end when CI-J has accepted every cleanup that they wait for.

Looked at often at first, then at growing distances, so that many that wait (while an app is paused, say) cost little.
"""

from datetime import datetime, timedelta

from registry.models import Erasure
from registry.services import clock
from registry.services.erasure import finish, unfinished
from registry.services.locking import in_transaction
from registry.states import ErasureState

BATCH = 200
SOONEST_LOOK = timedelta(seconds=1)
LATEST_LOOK = timedelta(minutes=5)


def run_batch() -> int:
    """Look at a batch of due erasures; return how many."""
    return in_transaction(_work)


def _work() -> int:
    now = clock.now()
    waiting = Erasure.objects.filter(state=ErasureState.WAITING, due_at__lte=now).order_by("due_at")
    due = list(waiting.select_for_update(skip_locked=True)[:BATCH])
    too_early = unfinished(due)
    for erasure in due:
        if erasure.pk in too_early or not finish(erasure, ErasureState.DONE):
            erasure.due_at = now + look_again(erasure.requested_at, now)
    Erasure.objects.bulk_update(due, ["due_at"])
    return len(due)


def look_again(requested_at: datetime, now: datetime) -> timedelta:
    """How long to wait before the next look: half of what was waited so far, within bounds."""
    return min(max((now - requested_at) / 2, SOONEST_LOOK), LATEST_LOOK)
