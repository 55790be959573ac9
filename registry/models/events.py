"""What the phone's users did with a notification."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registry.models.apps import MobileApp
from registry.models.devices import Device
from registry.models.loading import PlainlyLoaded
from registry.states import EventState


class InteractionEvent(PlainlyLoaded):
    """One interaction, kept from the phone's report until CI-J accepted it.

    PostgreSQL keeps the table in partitions by `received_at` (registry.services.partitions), so it has no unique
    constraints but EventMark's. Nor has it foreign keys: to drop a partition would lock the tables that they point to.
    Who inserts sees to it that the device is there.
    """

    app = models.ForeignKey(MobileApp, models.PROTECT, related_name="events", db_index=False, db_constraint=False)
    device = models.ForeignKey(
        Device, models.SET_NULL, null=True, blank=True, related_name="events", db_constraint=False
    )
    token = models.CharField(max_length=300, blank=True, default="", help_text="The device's token when it happened")
    tracking_id = models.UUIDField(null=True, blank=True)
    status = models.CharField(max_length=16)
    message_id = models.CharField(max_length=128, blank=True, default="")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now(), editable=False)
    asked_by = models.UUIDField(null=True, blank=True, editable=False, help_text="The post that reported it")
    state = models.CharField(max_length=12, choices=EventState, default=EventState.READY)
    reason = models.CharField(max_length=64, blank=True, default="")
    relayed_at = models.DateTimeField(null=True, blank=True)
    replayed_at = models.DateTimeField(null=True, blank=True, help_text="when it was given another chance")
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)
    claim_no = models.BigIntegerField(default=0, editable=False)

    class Meta:
        indexes = [
            models.Index(fields=["app", "due_at"], name="event_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["app", "state", "id"], name="event_list"),  # registry.services.lists
            models.Index(fields=["app", "token"], name="event_unknown_device", condition=Q(device__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.tracking_id}"


class EventMark(models.Model):
    """What repeats of one event have in common: a hash, unique across all partitions of the events.

    Kept for TOKENHUB_EVENT_REPEATS_DAYS; a repeat that comes later is a new event.
    """

    mark = models.UUIDField(primary_key=True, editable=False)
    made_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["made_at"], name="eventmark_over")]

    def __str__(self) -> str:
        return str(self.mark)
