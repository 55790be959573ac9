"""What the workers move: mappings to Dataverse records, and what we believe CI-J holds."""

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from registry.models.apps import DataverseEnvironment, MobileApp
from registry.models.devices import Device, MobileUser
from registry.models.erasures import Erasure
from registry.models.loading import PlainlyLoaded
from registry.states import GIVEN, PINNED, DataverseTable, MappingState, MatchKey, Platform, RegistrationState, Step


class DataverseMapping(PlainlyLoaded):
    """Which Dataverse record an app user is, and how we know.

    `due_at` says when to look (again), `recheck_at` when to see whether a mapped record is still what it was; a
    claim pushes either past the lease. Whoever changes the user's e-mail or
    phone raises `claim_no`, so that the answer to a question about the old ones is dropped.
    """

    user = models.OneToOneField(MobileUser, models.CASCADE, primary_key=True, related_name="mapping")
    state = models.CharField(max_length=12, choices=MappingState, default=MappingState.PENDING)
    table = models.CharField(max_length=8, choices=DataverseTable, blank=True, default="")
    dataverse_id = models.UUIDField(null=True, blank=True, db_index=True)
    matched_by = models.CharField(
        max_length=8,
        choices=[*MatchKey.choices, (GIVEN, "given by the app"), (PINNED, "chosen by a person")],
        blank=True,
        default="",
    )
    candidates = models.JSONField(default=list, blank=True)
    detail = models.TextField(blank=True, default="")
    asked_by = models.UUIDField(null=True, blank=True, editable=False, help_text="The post that had it looked up last")
    attempts = models.PositiveIntegerField(default=0)
    checked_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    recheck_at = models.DateTimeField(db_default=Now())
    # The last decision of a person, which outlives what becomes of the mapping.
    decided_by = models.CharField(max_length=150, blank=True, db_default="", editable=False)
    decided_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Change tracking told that the record was deleted: the re-check that finds it gone knows why.
    told_deleted = models.BooleanField(db_default=False, editable=False)
    claim_no = models.BigIntegerField(default=0, editable=False)

    class Meta:
        verbose_name = "Dataverse mapping"
        indexes = [
            models.Index(fields=["due_at"], name="mapping_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["recheck_at"], name="mapping_recheck", condition=Q(state="mapped")),
            models.Index(
                fields=["state", "user"], name="mapping_unresolved", condition=Q(state__in=["ambiguous", "not_found"])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.state}"


class ChangeFeed(models.Model):
    """How far the changes of one table of a Dataverse environment are read.

    `link` is Dataverse's own, unmodified: to the next page, or to what changes from now on; empty before the first
    page. A claim pushes `due_at` past the lease and raises `claim_no`.
    """

    environment = models.ForeignKey(DataverseEnvironment, models.CASCADE, related_name="change_feeds", db_index=False)
    table = models.CharField(max_length=8, choices=DataverseTable)
    link = models.TextField(blank=True, default="")
    due_at = models.DateTimeField(db_default=Now())
    claim_no = models.BigIntegerField(default=0, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, help_text="When the reading of all records began")
    completed_at = models.DateTimeField(
        null=True, blank=True, help_text="When all records were read; changes are followed since it began"
    )
    checked_at = models.DateTimeField(null=True, blank=True, help_text="When the last page came")
    detail = models.TextField(blank=True, default="", help_text="Why the last page did not come")

    class Meta:
        verbose_name = "change feed"
        constraints = [models.UniqueConstraint(fields=["environment", "table"], name="changefeed_table_unique")]

    def __str__(self) -> str:
        return f"{self.environment_id}: {self.table}"


# Where a registration may stay for ever.
AT_REST = Q(desired=True, state__in=[RegistrationState.REGISTERED, RegistrationState.FAILED]) | Q(
    desired=False, state=RegistrationState.RETIRED, maybe_held=False
)


class Registration(PlainlyLoaded):
    """What we believe CI-J knows of one (app, Dataverse user, token).

    The planner writes only what is desired; only the holder of the lease writes the state. A row in flight is
    leased until `due_at`; `claim_no` tells a late holder that the lease is lost.
    """

    version: str  # of a claimed row: the transaction that claimed it, PostgreSQL's `xmin`

    app = models.ForeignKey(MobileApp, models.PROTECT, related_name="registrations", db_index=False)
    # The device that desired it last; found again by it when the device's token or user changes.
    device = models.ForeignKey(Device, models.SET_NULL, null=True, blank=True, related_name="registrations")
    # Deleted when CI-J has accepted its cleanup; dropped by the planner when a device desires the triple again.
    erasure = models.ForeignKey(Erasure, models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    table = models.CharField(max_length=8, choices=DataverseTable)
    dataverse_id = models.UUIDField()
    platform = models.CharField(max_length=8, choices=Platform)
    token = models.CharField(max_length=300)
    token_hash = models.BinaryField(max_length=32, editable=False)

    # Written by the planner.
    desired = models.BooleanField(default=True)
    desired_changed_at = models.DateTimeField(db_default=Now())
    # The device's `changed_by` and `changed_at` when that was planned.
    asked_by = models.UUIDField(null=True, blank=True, editable=False)
    asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    # A living phone still has this token, and it is not, or not only, this user's any more: cleaned up before all else.
    urgent = models.BooleanField(db_default=False)

    # Written by the holder of the lease.
    state = models.CharField(max_length=10, choices=RegistrationState, default=RegistrationState.READY)
    reason = models.CharField(max_length=32, blank=True, default="")
    detail = models.TextField(blank=True, default="")
    attempts = models.PositiveIntegerField(default=0)
    rounds = models.PositiveIntegerField(default=0, help_text="Times it was sent without any outcome")
    request_id = models.UUIDField(null=True, blank=True)
    # The batch it was sent in; CI-J's callback names it.
    batch_id = models.UUIDField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    registered_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True, help_text="When CI-J's last outcome came")
    # A registration was sent and nobody knows yet what became of it; after this time nobody will.
    undecided_until = models.DateTimeField(null=True, blank=True)
    # An earlier send got no answer; until then it may still be worked off.
    unanswered_until = models.DateTimeField(null=True, blank=True)
    # The last cleanup that CI-J accepted since the last registration was sent.
    cleaned_at = models.DateTimeField(null=True, blank=True)
    # A cleanup was sent and not answered yet; and until when one that never was answered may still come to pass.
    cleanup_sent_at = models.DateTimeField(null=True, blank=True)
    cleanup_echo_until = models.DateTimeField(null=True, blank=True)
    # CI-J may hold the triple: set before the first byte is sent, cleared by a settled cleanup or a decided failure.
    maybe_held = models.BooleanField(default=False)
    # As which it may be held: a phone may post its token as another platform's first, and correct that later.
    sent_platform = models.CharField(max_length=8, choices=Platform, blank=True, db_default="")
    # An answer came after its lease was lost, so the far end may have acted: go round once more when idle.
    recheck = models.BooleanField(default=False)

    due_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    in_flight = models.BooleanField(default=False)
    claim_no = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    step = models.GeneratedField(
        expression=Case(
            When(state=RegistrationState.SENT, then=Value(Step.CONFIRM)),
            # Held as another platform than it is desired as: that one goes first.
            When(Q(maybe_held=True) & ~Q(sent_platform__in=["", F("platform")]), then=Value(Step.CLEANUP)),
            When(Q(desired=True) & ~Q(state=RegistrationState.RETIRING), then=Value(Step.PUSH)),
            default=Value(Step.CLEANUP),
        ),
        output_field=models.CharField(max_length=8, choices=Step),
        db_persist=True,
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["app", "dataverse_id", "token_hash"], name="registration_triple_unique"),
            # Invariant 3: two users never hold one token at once, whatever the interleaving.
            models.UniqueConstraint(
                fields=["app", "token_hash"], name="registration_one_holder", condition=Q(maybe_held=True)
            ),
            models.UniqueConstraint(
                fields=["app", "token_hash"], name="registration_one_desired", condition=Q(desired=True)
            ),
        ]
        indexes = [
            models.Index(
                fields=["app", "step", "-urgent", "due_at"], name="registration_due", condition=Q(due_at__isnull=False)
            ),
            # Counted by state, and listed in the admin (registry.services.lists).
            models.Index(fields=["app", "state", "id"], name="registration_state"),
            models.Index(
                fields=["app", "platform", "decided_at"], name="registration_failed", condition=Q(state="failed")
            ),
            models.Index(fields=["batch_id"], name="registration_batch", condition=Q(state="sent")),
            # Nothing is left to do for these, and yet they are where no row may rest: nearly always empty.
            models.Index(
                fields=["app"],
                name="registration_stuck",
                condition=Q(due_at__isnull=True) & ~AT_REST,
            ),
            models.Index(
                fields=["app", "decided_at"],
                name="registration_unknown",
                condition=Q(state="failed", reason="Unknown", desired=True),
            ),
            models.Index(
                fields=["desired_changed_at"],
                name="registration_over",
                condition=Q(state="retired", desired=False, due_at__isnull=True),
            ),
            models.Index(fields=["erasure"], name="registration_erasure", condition=Q(erasure__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.dataverse_id} …{self.token[-6:]}"


class RollingCheck(models.Model):
    """How far the rolling look at every device has come. One row."""

    position = models.BigIntegerField(db_default=0, help_text="id of the last device looked at")
    due_at = models.DateTimeField(db_default=Now())
    mended = models.BigIntegerField(db_default=0, help_text="devices whose plan was found wrong, ever")

    def __str__(self) -> str:
        return f"at device {self.position}"


class Reconciliation(models.Model):
    """The comparison of an app with CI-J after its tables came back from a backup: see registry/services/reconcile.py.

    What was believed before `started_at` is not believed any more. `stage` and `position` say how far rows are marked.
    """

    app = models.OneToOneField(MobileApp, models.CASCADE, primary_key=True, related_name="reconciliation")
    started_at = models.DateTimeField(db_default=Now())
    everything = models.BooleanField(default=False, help_text="Registrations are sent again before their phones launch")
    stage = models.PositiveSmallIntegerField(default=0)
    position = models.BigIntegerField(default=0)
    cleanups = models.PositiveIntegerField(default=0, help_text="Registrations to be cleaned up once more")
    sends = models.PositiveIntegerField(default=0, help_text="Registrations to be sent again")

    def __str__(self) -> str:
        return f"{self.app_id}: since {self.started_at}"
