"""What reports are made of: sums, so that nobody counts the events themselves."""

from django.db import models
from django.db.models import F
from django.db.models.functions import Now

from registry.models.apps import MobileApp


class EventCounts(models.Model):
    """How many events of one app, one day (UTC, of when they happened) and one message came to what.

    `tracking_id` is the message's; null where an event had none. A number that is taken back is negative in a change.
    """

    app = models.ForeignKey(MobileApp, models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    tracking_id = models.UUIDField("tracking id", null=True, blank=True)
    accepted = models.IntegerField(db_default=0, default=0, help_text="to be relayed")
    relayed = models.IntegerField(db_default=0, default=0)
    failed = models.IntegerField(db_default=0, default=0, help_text="refused or given up, not discarded yet")
    discarded = models.IntegerField(db_default=0, default=0, help_text="by an administrator")
    abandoned = models.IntegerField(db_default=0, default=0, help_text="their connection is gone for good")
    no_consent = models.IntegerField("without consent", db_default=0, default=0)
    too_old = models.IntegerField(db_default=0, default=0)
    unknown_device = models.IntegerField(db_default=0, default=0)
    test_send = models.IntegerField("test sends", db_default=0, default=0)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.day} {self.tracking_id}"


class EventCountChange(EventCounts):
    """Appended by whoever changes events, in the same transaction, and added up within seconds (sync.steps.tally).

    So that no two requests ever wait for the row of one popular message.
    """


class EventCount(EventCounts):
    """The sums."""

    opened = models.GeneratedField(
        expression=F("accepted") + F("no_consent") + F("too_old"),
        output_field=models.IntegerField(),
        db_persist=True,
        help_text="by known devices, whether relayed or not",
    )
    waiting = models.GeneratedField(
        expression=F("accepted") - F("relayed") - F("failed") - F("discarded") - F("abandoned"),
        output_field=models.IntegerField(),
        db_persist=True,
        help_text="to be relayed yet",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["app", "day", "tracking_id"], name="eventcount_unique", nulls_distinct=False
            )
        ]
        indexes = [models.Index(fields=["app", "tracking_id"], name="eventcount_message")]


class RegisteredDevices(models.Model):
    """How many devices of an app were registered with CI-J on a day (UTC), as last counted: what open rates are of."""

    app = models.ForeignKey(MobileApp, models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    devices = models.PositiveIntegerField()
    counted_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "day"], name="registereddevices_unique")]
        verbose_name_plural = "registered devices"

    def __str__(self) -> str:
        return f"{self.day}: {self.devices}"
