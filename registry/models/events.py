"""What the phone's users did with a notification."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registry.models.apps import MobileApp
from registry.models.devices import Device
from registry.states import EventState


class InteractionEvent(models.Model):
    """One interaction, kept from the phone's report until CI-J accepted it."""

    app = models.ForeignKey(MobileApp, models.PROTECT, related_name="events", db_index=False)
    device = models.ForeignKey(Device, models.SET_NULL, null=True, blank=True, related_name="events")
    token = models.CharField(max_length=300, blank=True, default="", help_text="The device's token when it happened")
    tracking_id = models.UUIDField(null=True, blank=True)
    status = models.CharField(max_length=16)
    message_id = models.CharField(max_length=128, blank=True, default="")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now(), editable=False)
    state = models.CharField(max_length=12, choices=EventState, default=EventState.READY)
    reason = models.CharField(max_length=64, blank=True, default="")
    relayed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)
    claim_no = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["device", "message_id"], name="event_message_unique", condition=Q(message_id__gt="")
            ),
            models.UniqueConstraint(
                fields=["device", "tracking_id", "status"],
                name="event_interaction_unique",
                condition=Q(device__isnull=False, tracking_id__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["app", "due_at"], name="event_due", condition=Q(due_at__isnull=False)),
            models.Index(
                fields=["received_at"],
                name="event_over",
                condition=Q(state__in=[EventState.RELAYED, EventState.NOT_RELAYED, EventState.FAILED]),
            ),
            models.Index(fields=["app", "token"], name="event_unknown_device", condition=Q(device__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.tracking_id}"
