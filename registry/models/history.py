"""What changed: the timeline of devices, users, mappings, and of what CI-J was told."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registry.models.apps import MobileApp
from registry.models.devices import Device, MobileUser
from registry.models.sync import Registration
from registry.states import HistoryKind


class HistoryEntry(models.Model):
    """One change of one row, written by the database itself in the transaction that makes it.

    Triggers write it (their migration has them; docs/decisions says why), so whatever changes a device, a user, a
    mapping, a registration or a pause leaves its trace, and a launch that changes nothing writes nothing. Holds no
    e-mail address, no phone number and no more of a token than its end. PostgreSQL keeps the table in partitions by
    `at` (registry.services.partitions) and drops them after TOKENHUB_HISTORY_DAYS. Foreign keys are not enforced: to
    drop a partition would lock the tables that they point to, and devices and registrations go before their history.
    """

    at = models.DateTimeField(db_default=Now())
    kind = models.PositiveSmallIntegerField(choices=HistoryKind)
    app = models.ForeignKey(
        MobileApp, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    device = models.ForeignKey(
        Device, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="history"
    )
    user = models.ForeignKey(
        MobileUser, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="history"
    )
    registration = models.ForeignKey(
        Registration, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    token_end = models.CharField(max_length=6, db_default="")
    by = models.CharField(max_length=150, db_default="", help_text="The person who decided it, where one did")
    data = models.JSONField(null=True, help_text="What else there is to say, by kind")

    class Meta:
        verbose_name_plural = "history"
        indexes = [
            models.Index(fields=["device", "at"], name="history_device", condition=Q(device__isnull=False)),
            models.Index(fields=["user", "at"], name="history_user", condition=Q(user__isnull=False)),
            models.Index(fields=["at"], name="history_pauses", condition=Q(device__isnull=True, user__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.get_kind_display()}"
