"""The desired side: devices and their users."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now, Right

from registry.models.apps import MobileApp
from registry.models.erasures import Erasure
from registry.models.loading import PlainlyLoaded
from registry.states import Platform, RetiredReason

TOKEN_END = 6  # characters of a token that are shown: enough to recognise it, not to use it


class MobileUser(PlainlyLoaded):
    """A user as the mobile app knows them."""

    app = models.ForeignKey(MobileApp, models.PROTECT, related_name="users", db_index=False)
    external_id = models.CharField("app user id", max_length=255)
    email = models.CharField("e-mail", max_length=254, blank=True, default="")
    phone = models.CharField(max_length=16, blank=True, default="", help_text="E.164")
    push_consent = models.BooleanField(default=True)
    tracking_consent = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "external_id"], name="mobileuser_app_external_id_unique")]
        indexes = [  # who is found by a record that was made or changed later
            # Of all rows: PostgreSQL does not weigh an expression by the statistics of a partial index.
            models.Index(Lower("email"), name="mobileuser_email"),
            models.Index(fields=["phone"], name="mobileuser_phone", condition=~Q(phone="")),
            # Lists of the admin (registry.services.lists).
            models.Index(fields=["app", "id"], name="mobileuser_list"),
            models.Index(fields=["app", "id"], name="mobileuser_opted_out", condition=Q(push_consent=False)),
        ]

    def __str__(self) -> str:
        return self.external_id


class Device(PlainlyLoaded):
    """One installation of one mobile app.

    `revision` grows with every change that matters to CI-J; the planner writes what it saw into
    `planned_revision`. A device is to be planned while the two differ, so a change can never be un-marked by a
    planner that read the row before it.
    """

    app = models.ForeignKey(MobileApp, models.PROTECT, related_name="devices", db_index=False)
    installation_id = models.CharField(max_length=128)
    platform = models.CharField(max_length=8, choices=Platform)
    token = models.CharField(max_length=300)
    token_hash = models.BinaryField(max_length=32, editable=False)
    user = models.ForeignKey(MobileUser, models.PROTECT, null=True, blank=True, related_name="devices")
    app_version = models.CharField(max_length=64, blank=True, default="")
    os_version = models.CharField(max_length=64, blank=True, default="")
    model = models.CharField(max_length=128, blank=True, default="")
    locale = models.CharField(max_length=35, blank=True, default="")
    time_zone = models.CharField(max_length=64, blank=True, default="")
    retired_at = models.DateTimeField(null=True, blank=True)
    retired_reason = models.CharField(max_length=16, choices=RetiredReason, blank=True, default="")
    # Stays, nameless, until CI-J has forgotten its registrations.
    erasure = models.ForeignKey(Erasure, models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_seen = models.DateTimeField(db_default=Now())
    token_changed_at = models.DateTimeField(db_default=Now())
    # Two phones restored from one backup post one installation id in turn: the token goes to and fro.
    former_token_hash = models.BinaryField(max_length=32, db_default=b"", editable=False)
    token_returns = models.PositiveSmallIntegerField(db_default=0, help_text="times that the token before came back")
    token_returned_at = models.DateTimeField(null=True, blank=True, editable=False)
    shared_since = models.DateTimeField(
        null=True, blank=True, help_text="two phones post this installation id, as far as their tokens tell"
    )
    # What a phone shows that this installation is its own; empty: it was handed out none yet.
    secret_hash = models.BinaryField(max_length=32, db_default=b"", editable=False)
    secret_shown = models.BooleanField(db_default=False, editable=False)
    # Only grow: what is older than them was delayed on its way, and changes nothing.
    sequence = models.BigIntegerField(null=True, blank=True, editable=False)
    user_tokens_from = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="user tokens issued before (seconds since 1970) are stale"
    )
    # Which post raised the revision last (registry.services.correlation), and when; None: no post did.
    changed_by = models.UUIDField(null=True, blank=True, editable=False)
    changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    revision = models.BigIntegerField(default=1, editable=False)
    planned_revision = models.BigIntegerField(default=0, editable=False)

    class Meta:
        permissions = [
            ("see_whole_token", "Can see a whole push token"),
            ("export_device", "Can export devices and their users"),
            ("import_device", "Can import devices"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["app", "installation_id"], name="device_app_installation_unique"),
            # Two living installations never share a token: the later post wins, the other is retired.
            models.UniqueConstraint(
                fields=["app", "token_hash"], name="device_app_token_unique", condition=Q(retired_at__isnull=True)
            ),
        ]
        indexes = [
            # Lists of the admin (registry.services.lists); the first of these counts them, too.
            models.Index(fields=["app", "id"], name="device_shared", condition=Q(shared_since__isnull=False)),
            models.Index(fields=["app", "platform", "id"], name="device_list"),
            models.Index(fields=["app", "id"], name="device_list_retired", condition=Q(retired_at__isnull=False)),
            models.Index(
                fields=["app", "id"],
                name="device_list_nobody",
                condition=Q(user__isnull=True, retired_at__isnull=True),
            ),
            # A person reads a token off a phone's log, and sees no more of it in the admin.
            models.Index(Right("token", TOKEN_END), name="device_token_end"),
            # Changed ones first, since only they can need a cleanup, then new ones.
            models.Index(
                fields=["id"],
                name="device_to_replan",
                condition=Q(revision__gt=F("planned_revision"), planned_revision__gt=0),
            ),
            models.Index(
                fields=["id"],
                name="device_to_plan",
                condition=Q(revision__gt=F("planned_revision"), planned_revision=0),
            ),
            models.Index(
                fields=["app", "last_seen"],
                name="device_stale",
                condition=Q(platform=Platform.ANDROID, retired_at__isnull=True),
            ),
            models.Index(fields=["retired_at"], name="device_retired", condition=Q(retired_at__isnull=False)),
            models.Index(fields=["erasure"], name="device_erasure", condition=Q(erasure__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.installation_id
