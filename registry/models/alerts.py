"""Alerts that are told to people: when one was raised, when it was over, and what was sent about it where."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registry.states import AlertChannel, AlertEvent


class AlertEpisode(models.Model):
    """One alert, from when it was first seen until it is over. Holds no personal data and no secret."""

    kind = models.CharField(max_length=32)
    subject = models.CharField(max_length=200)
    since = models.DateTimeField()
    what = models.TextField()
    to_do = models.TextField()
    seen_at = models.DateTimeField(db_default=Now())
    missing_since = models.DateTimeField(null=True, blank=True, help_text="Not seen any more, perhaps for good")
    told_at = models.DateTimeField(null=True, blank=True, help_text="When it was told last")
    over_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], name="alertepisode_open_unique", condition=Q(over_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind}, {self.subject}"


class AlertMessage(models.Model):
    """Something to be told of an episode, by one channel. `due_at` None: delivered, or given up."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    episode = models.ForeignKey(AlertEpisode, models.CASCADE, related_name="messages")
    event = models.CharField(max_length=8, choices=AlertEvent)
    channel = models.CharField(max_length=8, choices=AlertChannel)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    due_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    claim_no = models.BigIntegerField(default=0, editable=False)
    attempts = models.PositiveIntegerField(default=0)
    delivered_at = models.DateTimeField(null=True, blank=True)
    detail = models.TextField(blank=True, default="", help_text="Why it was not delivered")

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="alertmessage_due", condition=Q(due_at__isnull=False))]

    def __str__(self) -> str:
        return f"{self.episode}: {self.event} by {self.channel}"
