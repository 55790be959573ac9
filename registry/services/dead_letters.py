"""Events that CI-J refused or that were given up: looked at, and replayed or discarded, in batches, by a person."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from registry.models import InteractionEvent
from registry.ports import announce
from registry.services import clock, event_counts
from registry.services.locking import in_transaction
from registry.states import EventState, NotRelayedReason

BATCH = 1000
GIVEN_UP = "given up"
DEAD = Q(state=EventState.FAILED)


def replayable() -> Q:
    """Dead letters that may be relayed yet: CI-J is told no time, and who took their consent back is not tracked."""
    oldest = clock.now() - settings.TOKENHUB_EVENT_MAX_AGE
    return DEAD & Q(occurred_at__gte=oldest) & ~Q(device__user__tracking_consent=False)


def replay(chosen: QuerySet[InteractionEvent], progress: Callable[[int], None] = lambda _: None) -> int:
    """Have the chosen dead letters relayed once more; return how many. What is not replayable stays.

    `progress` is told after each batch, a transaction of its own, how many it were so far.
    """
    return _in_batches(chosen.filter(replayable()), _replay, progress)


def discard(chosen: QuerySet[InteractionEvent], progress: Callable[[int], None] = lambda _: None) -> int:
    """Never relay the chosen dead letters; return how many. `progress` as for replay."""
    return _in_batches(chosen.filter(DEAD), _discard, progress)


def given_up_before() -> datetime:
    """What was accepted, or replayed, before this time and could not be relayed is given up."""
    before: datetime = clock.now() - settings.TOKENHUB_EVENT_GIVE_UP
    return before


def why(reason: str) -> str:
    """The reason of an event that is given up, of the last that kept it from being relayed."""
    return (f"{GIVEN_UP}: {reason}" if reason else GIVEN_UP)[:64]


def give_up() -> int:
    """Make dead letters of what is overdue and was not even tried, since its app rests. Returns how many."""
    before = given_up_before()
    waiting = InteractionEvent.objects.filter(due_at__isnull=False, received_at__lt=before)
    overdue = waiting.filter(Q(replayed_at__isnull=True) | Q(replayed_at__lt=before))
    return _in_batches(overdue, _give_up)


def _in_batches(
    chosen: QuerySet[InteractionEvent],
    change: Callable[[Sequence[InteractionEvent]], None],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    done = 0
    while batch := in_transaction(partial(_batch, chosen, change)):
        done += batch
        progress(done)
    return done


def _batch(chosen: QuerySet[InteractionEvent], change: Callable[[Sequence[InteractionEvent]], None]) -> int:
    locked = chosen.order_by().select_for_update(skip_locked=True, of=("self",))
    events = list(locked.only("app", "occurred_at", "received_at", "tracking_id", "reason")[:BATCH])
    if events:
        change(events)
    return len(events)


def _rows(events: Sequence[InteractionEvent]) -> QuerySet[InteractionEvent]:
    times = [event.received_at for event in events]  # which partitions they are in
    return InteractionEvent.objects.filter(
        pk__in=[event.pk for event in events], received_at__gte=min(times), received_at__lte=max(times)
    )


def _replay(events: Sequence[InteractionEvent]) -> None:
    _rows(events).update(
        state=EventState.READY, reason="", due_at=Now(), attempts=0, replayed_at=Now(), claim_no=F("claim_no") + 1
    )
    event_counts.count((event, "failed", -1) for event in events)
    announce(["relay"])


def _discard(events: Sequence[InteractionEvent]) -> None:
    _rows(events).update(state=EventState.NOT_RELAYED, reason=NotRelayedReason.DISCARDED)
    event_counts.count(change for event in events for change in ((event, "failed", -1), (event, "discarded", 1)))


def _give_up(events: Sequence[InteractionEvent]) -> None:
    # Whoever sends one of them just now, and is answered well, has it relayed after all.
    for reason in {event.reason for event in events}:
        those = [event for event in events if event.reason == reason]
        _rows(those).update(state=EventState.FAILED, reason=why(reason), due_at=None, claim_no=F("claim_no") + 1)
    event_counts.count((event, "failed", 1) for event in events)
