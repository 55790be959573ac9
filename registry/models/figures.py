"""What the dashboard shows: figures of each app and day, so that nobody counts the tables themselves."""

from django.db import models
from django.db.models.functions import Now

from registry.models.apps import MobileApp


def nothing() -> dict[str, int]:
    return {}


class DayFigures(models.Model):
    """One app on one day (UTC). Counts are those of the day's last counting, the rest is added up while it goes on."""

    app = models.ForeignKey(MobileApp, models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    counted_at = models.DateTimeField(null=True, blank=True)
    devices = models.BigIntegerField(default=0, db_default=0, help_text="living")
    users = models.BigIntegerField(default=0, db_default=0)
    mapped = models.BigIntegerField(default=0, db_default=0, help_text="users with a record")
    registered_users = models.BigIntegerField(default=0, db_default=0, help_text="records that CI-J can reach")
    opened = models.BigIntegerField(default=0, db_default=0, help_text="users who opened a message, 7 days")
    # Nobody reads or writes it any more: EventCount has the events. It goes with the release after the next, when no
    # version that reads it can run beside the migration (docs/operations.md, "Upgrade").
    relayed = models.BigIntegerField(default=0, db_default=0, help_text="events of the day that CI-J has accepted")
    registrations = models.JSONField(
        default=nothing, help_text="by platform and state, e.g. ios:registered; ios:living: devices"
    )
    new_devices = models.BigIntegerField(default=0, db_default=0)
    token_changes = models.BigIntegerField(default=0, db_default=0)
    waits = models.JSONField(
        default=nothing, help_text="from launch to registered: how many took up to so many seconds"
    )

    class Meta:
        verbose_name_plural = "figures"
        constraints = [models.UniqueConstraint(fields=["app", "day"], name="dayfigures_unique")]

    def __str__(self) -> str:
        return f"{self.app_id}: {self.day}"


class FiguresPosition(models.Model):
    """How far the history is added up. One row."""

    position = models.BigIntegerField(db_default=0, help_text="id of the last entry")
    counted_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"at entry {self.position}"
