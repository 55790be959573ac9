"""Deleting what is over for long, in batches, each a transaction of its own.

Never what is still to be cleaned up: a registration goes when CI-J has forgotten it, a device when no registration
points to it any more. What belongs to an erasure is the erasure's to delete. Events and the history go by whole
partitions (registry.services.partitions).
"""

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from registry.models import (
    BulkJob,
    Device,
    Erasure,
    EventCount,
    EventMark,
    InteractionEvent,
    RegisteredDevices,
    Registration,
    ReplacedConnection,
)
from registry.services.locking import in_transaction
from registry.states import RegistrationState

BATCH = 1000


def purge() -> int:
    """Delete a batch of each kind; return how many rows."""
    now = timezone.now()
    over = (
        registrations(now - settings.TOKENHUB_PURGE_REGISTRATIONS),
        event_marks(now - settings.TOKENHUB_EVENT_REPEATS),
        devices(now - settings.TOKENHUB_PURGE_DEVICES),
        receipts(now - settings.TOKENHUB_PURGE_RECEIPTS),
        connections(now - settings.TOKENHUB_PURGE_REGISTRATIONS),
        bulk_jobs(now - settings.TOKENHUB_HISTORY),
        event_counts(now - settings.TOKENHUB_PURGE_EVENT_COUNTS),
        registered_devices(now - settings.TOKENHUB_PURGE_EVENT_COUNTS),
    )
    return sum(_delete_batch(rows) for rows in over)


def is_over() -> Q:
    """A registration that CI-J never knew of, or whose cleanup it accepted, and nothing sent for it is in the air."""
    return Q(
        Q(unanswered_until__isnull=True) | Q(unanswered_until__lt=Now()),
        state=RegistrationState.RETIRED,
        desired=False,
        maybe_held=False,
        in_flight=False,
        recheck=False,
        due_at__isnull=True,
    )


def registrations(before: datetime) -> QuerySet[Registration]:
    """Over, and last changed before that time."""
    return Registration.objects.filter(
        is_over(),
        Q(cleaned_at__isnull=True) | Q(cleaned_at__lt=before),
        erasure__isnull=True,
        desired_changed_at__lt=before,
    ).order_by("desired_changed_at")


def event_marks(before: datetime) -> QuerySet[EventMark]:
    """Made before that time: whatever repeats that event now is a new one."""
    return EventMark.objects.filter(made_at__lt=before).order_by("made_at")


def devices(before: datetime) -> QuerySet[Device]:
    """Retired before that time, planned since, and needed by no registration."""
    needed = Registration.objects.filter(device=OuterRef("pk"))
    return Device.objects.filter(
        ~Exists(needed), retired_at__lt=before, revision=F("planned_revision"), erasure__isnull=True
    ).order_by("retired_at")


def receipts(before: datetime) -> QuerySet[Erasure]:
    """Of erasures that ended before that time."""
    return Erasure.objects.filter(finished_at__lt=before).order_by("finished_at")


def connections(before: datetime) -> QuerySet[ReplacedConnection]:
    """Replaced, over before that time, and with nothing under them any more."""
    needed = [Exists(rows.objects.filter(app=OuterRef("pk"))) for rows in (Registration, InteractionEvent)]
    return ReplacedConnection.objects.filter(~needed[0], ~needed[1], over_at__lt=before).order_by("over_at")


def bulk_jobs(before: datetime) -> QuerySet[BulkJob]:
    """Over before that time, with their errors."""
    return BulkJob.objects.filter(finished_at__lt=before).order_by("finished_at")


def event_counts(before: datetime) -> QuerySet[EventCount]:
    """The sums of the days before that time's, where no event of them is still to be relayed."""
    return EventCount.objects.filter(day__lt=before.astimezone(UTC).date(), waiting=0)


def registered_devices(before: datetime) -> QuerySet[RegisteredDevices]:
    """What open rates of these days are of."""
    return RegisteredDevices.objects.filter(day__lt=before.astimezone(UTC).date())


def _delete_batch(rows: QuerySet[Any]) -> int:
    def delete() -> int:
        batch = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH])
        rows.model.objects.filter(pk__in=batch).delete()
        return len(batch)

    return in_transaction(delete)
