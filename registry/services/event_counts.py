"""Sums of events, written in the transaction that changes the events, and read by whoever reports."""

import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, timedelta

from django.db import connection
from django.db.models import Count, QuerySet

from registry.models import EventCountChange, InteractionEvent, RegisteredDevices, Registration
from registry.services import clock
from registry.services.locking import in_transaction
from registry.services.recount import recount_after
from registry.states import EventState, NotRelayedReason, RegistrationState

BATCH = 10_000
RECOUNT = timedelta(minutes=30)
COUNTED = (
    "accepted",
    "relayed",
    "failed",
    "discarded",
    "abandoned",
    "no_consent",
    "too_old",
    "unknown_device",
    "test_send",
)
# In which column an event is that is not to be relayed (any more).
_COLUMN = {
    NotRelayedReason.TEST_SEND: "test_send",
    NotRelayedReason.NO_CONSENT: "no_consent",
    NotRelayedReason.UNKNOWN_DEVICE: "unknown_device",
    NotRelayedReason.TOO_OLD: "too_old",
    NotRelayedReason.DISCARDED: "discarded",
    NotRelayedReason.ABANDONED: "abandoned",
}
# In which columns one is that may be relayed yet.
_OPEN = {EventState.READY: ("accepted",), EventState.FAILED: ("accepted", "failed")}

type Message = tuple[int, date, uuid.UUID | None]


def accepted(events: Iterable[InteractionEvent]) -> None:
    """Count events that are new."""
    count((event, _COLUMN[NotRelayedReason(event.reason)] if event.reason else "accepted", 1) for event in events)


def relayed(events: Iterable[InteractionEvent]) -> None:
    """Count events that were relayed, given as they were before: somebody may have given them up meanwhile."""
    for event in (events := list(events)):
        if event.state == EventState.FAILED:
            count([(event, "failed", -1)])
        elif event.reason in _COLUMN and event.state == EventState.NOT_RELAYED:
            count([(event, _COLUMN[NotRelayedReason(event.reason)], -1)])
    count((event, "relayed", 1) for event in events)


def erased(events: QuerySet[InteractionEvent]) -> None:
    """Take back those that were not relayed: the caller's transaction deletes them, and nobody waits for them."""
    open_ones = events.filter(state__in=_OPEN).select_for_update().order_by("pk")
    count((event, column, -1) for event in open_ones for column in _OPEN[EventState(event.state)])


def count(changes: Iterable[tuple[InteractionEvent, str, int]]) -> None:
    """Count events in a column of COUNTED, or (a negative number) take them back. In the caller's transaction."""
    sums: Counter[tuple[Message, str]] = Counter()
    for event, column, number in changes:
        sums[(event.app_id, event.occurred_at.astimezone(UTC).date(), event.tracking_id), column] += number
    rows: dict[Message, EventCountChange] = {}
    for (message, column), number in sums.items():
        app, day, tracking_id = message
        row = rows.setdefault(message, EventCountChange(app_id=app, day=day, tracking_id=tracking_id))
        setattr(row, column, number)
    EventCountChange.objects.bulk_create([*rows.values()])


_FOLD = """
WITH oldest AS MATERIALIZED (
    SELECT id FROM registry_eventcountchange ORDER BY id LIMIT {batch} FOR UPDATE SKIP LOCKED
), changes AS (
    DELETE FROM registry_eventcountchange WHERE id IN (SELECT id FROM oldest) RETURNING *
), folded AS (
    INSERT INTO registry_eventcount AS sums (app_id, day, tracking_id, {columns})
    SELECT coalesce(app.replaced_by_id, app.id), day, tracking_id, {totals}
    FROM changes JOIN registry_mobileapp app ON app.id = app_id GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (app_id, day, tracking_id) DO UPDATE SET {added}
) SELECT count(*) FROM changes
"""


def fold() -> int:
    """Add a batch of changes to the sums; return how many. An event of a replaced connection is its app's."""
    statement = _FOLD.format(
        batch=BATCH,
        columns=", ".join(COUNTED),
        totals=", ".join(f"sum({name})" for name in COUNTED),
        added=", ".join(f"{name} = sums.{name} + excluded.{name}" for name in COUNTED),
    )

    def run() -> int:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone()
        return int(row[0]) if row else 0

    return in_transaction(run)


def count_registered() -> None:
    """Note how many devices of each app are registered today. Asked again soon it does nothing."""
    now = clock.now()
    if RegisteredDevices.objects.filter(counted_at__gt=now - recount_after(RECOUNT)).exists():
        return
    held = Registration.objects.filter(state=RegistrationState.REGISTERED, desired=True, app__replaced_by=None)
    rows = [
        RegisteredDevices(app_id=app, day=now.astimezone(UTC).date(), devices=devices, counted_at=now)
        for app, devices in held.order_by().values_list("app").annotate(Count("device", distinct=True))
    ]
    RegisteredDevices.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["app", "day"], update_fields=["devices", "counted_at"]
    )
