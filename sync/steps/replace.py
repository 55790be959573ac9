"""Replace: have the devices of an app with a new connection registered anew, and see when the old one is over.

Marked in batches, and only while few of those marked wait for the planner: a real hand-over is planned in between.
"""

from datetime import datetime
from functools import partial

from django.db.models import F
from django.db.models.functions import Now

from registry.models import Device, ReplacedConnection, secret_columns
from registry.services import clock, correlation
from registry.services.connections import is_empty
from registry.services.locking import in_transaction

BATCH = 2000


def run_batch() -> int:
    """Mark a batch of devices for each replaced connection that is not over; return how many."""
    marked = 0
    for old in ReplacedConnection.objects.defer(*secret_columns()).filter(over_at__isnull=True).order_by("pk"):
        if old.marked_to is not None:
            marked += in_transaction(partial(_mark, old))
        elif is_empty(old):
            ReplacedConnection.objects.filter(pk=old.pk).update(over_at=Now())
    return marked


def next_due() -> datetime | None:
    """At once, as long as there are devices to be marked."""
    return clock.now() if ReplacedConnection.objects.filter(marked_to__isnull=False).exists() else None


def _mark(old: ReplacedConnection) -> int:
    devices = Device.objects.filter(app=old.replaced_by_id)
    waiting = devices.filter(revision__gt=F("planned_revision"), planned_revision__gt=0)
    if waiting.values("pk")[:BATCH].count() == BATCH:
        return 0
    # Without a user, or retired, a device desires nothing. Whoever changes one of these now marks it as well.
    to_mark = devices.filter(pk__gt=old.marked_to, user__isnull=False, retired_at__isnull=True).order_by("pk")
    batch = list(to_mark.select_for_update(no_key=True).values_list("pk", flat=True)[:BATCH])
    Device.objects.filter(pk__in=batch).update(revision=F("revision") + 1, **correlation.origin())
    # Where two workers are at it a device is marked twice, which does no harm.
    ours = ReplacedConnection.objects.filter(pk=old.pk, marked_to=old.marked_to)
    ours.update(marked_to=batch[-1] if len(batch) == BATCH else None)
    return len(batch)
