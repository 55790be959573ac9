"""Erasure requests, which stay as receipts."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registry.models.apps import MobileApp
from registry.states import ErasureState


class Erasure(models.Model):
    """One user's erasure, from the request on. Holds no personal data: its random id is all that leads to it.

    What CI-J has yet to forget (devices and registrations) points here until it has; `due_at` says when to look whether
    it has by now.
    """

    id = models.UUIDField("receipt", primary_key=True, default=uuid.uuid4, editable=False)
    app = models.ForeignKey(MobileApp, models.PROTECT, related_name="erasures", db_index=False)
    state = models.CharField(max_length=8, choices=ErasureState, default=ErasureState.WAITING)
    requested_at = models.DateTimeField(db_default=Now(), editable=False)
    requested_by = models.CharField(max_length=200, help_text="Who asked for it, without personal data of the user")
    finished_at = models.DateTimeField(null=True, blank=True)
    finished_by = models.CharField(max_length=200, blank=True, default="", help_text="Who forced it to its end")
    note = models.TextField(blank=True, default="", help_text="Why it was forced, without personal data of the user")
    # Deleted by now.
    devices = models.PositiveIntegerField(default=0)
    registrations = models.PositiveIntegerField(default=0)
    events = models.PositiveIntegerField(default=0)
    not_cleaned_up = models.PositiveIntegerField(
        default=0, help_text="Registrations that Customer Insights - Journeys may still have held at a forced end"
    )
    due_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], name="erasure_due", condition=Q(state="waiting")),
            models.Index(fields=["state", "requested_at"], name="erasure_state"),
            models.Index(fields=["finished_at"], name="erasure_finished", condition=Q(finished_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return str(self.id)
