"""Work on many rows that a person asked for, and how far it is."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registry.models.apps import MobileApp
from registry.states import BulkKind, BulkState


class BulkJob(models.Model):
    """What somebody had done to many rows at once. Workers do it in batches (sync.steps.bulk).

    A batch and the note of how far it came are one transaction: a worker that is killed leaves nothing half done, and
    another one goes on. `position` is the last row's id, or in an import's file the byte after the last row.
    """

    kind = models.CharField(max_length=16, choices=BulkKind)
    state = models.CharField(max_length=10, choices=BulkState, default=BulkState.WAITING)
    by = models.CharField(max_length=150, help_text="The account that asked for it")
    what = models.CharField(max_length=300, help_text="Which rows, in words")
    # Which rows (registry.services.lists.Choice); no later ones than `last`.
    model = models.CharField(max_length=32, editable=False)
    apps = models.JSONField(null=True, editable=False)
    show = models.CharField(max_length=16, blank=True, default="", editable=False)
    ids = models.JSONField(null=True, editable=False)
    last = models.BigIntegerField(default=0, editable=False)
    # Or whose devices the file holds.
    app = models.ForeignKey(MobileApp, models.CASCADE, null=True, blank=True, related_name="+", db_index=False)

    total = models.BigIntegerField(null=True, blank=True, help_text="Rows, or bytes of a file; not counted yet: empty")
    position = models.BigIntegerField(default=0, editable=False)
    line = models.PositiveBigIntegerField(default=1, editable=False)
    done = models.BigIntegerField(default=0, help_text="Rows that were looked at")
    changed = models.BigIntegerField(default=0, help_text="Rows of these that it changed")
    failed = models.BigIntegerField("errors", default=0)
    detail = models.TextField(blank=True, default="", help_text="Why it ended before its end")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True, db_default=Now(), editable=False)

    class Meta:
        verbose_name = "bulk action"
        indexes = [
            models.Index(fields=["due_at"], name="bulkjob_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["finished_at"], name="bulkjob_finished", condition=Q(finished_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.what}"


class BulkPart(models.Model):
    """A piece of the file of an import, in order; gone when the import is over."""

    job = models.ForeignKey(BulkJob, models.CASCADE, related_name="parts", db_index=False)
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="bulkpart_unique")]

    def __str__(self) -> str:
        return f"{self.job_id}: {self.number}"


class BulkError(models.Model):
    """A row that could not be done, and why."""

    job = models.ForeignKey(BulkJob, models.CASCADE, related_name="errors", db_index=False)
    line = models.PositiveBigIntegerField()
    detail = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["job", "line"], name="bulkerror_line")]

    def __str__(self) -> str:
        return f"line {self.line}"
