"""Mobile apps, the Dataverse environments behind them, their keys and their pauses."""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registry.crypto import EncryptedTextField
from registry.states import DataverseTable, Identity, KeyKind, MatchKey, PauseReason, Platform


def default_match() -> list[str]:
    return [DataverseTable.CONTACT.value, DataverseTable.LEAD.value, DataverseTable.PROFILE.value]


def default_match_by() -> list[str]:
    return [MatchKey.EMAIL.value, MatchKey.PHONE.value]


def secret_columns(path: str = "") -> list[str]:
    """An app's secrets at the end of `path`, for `defer`: to decrypt them costs, and one that cannot be read must not
    hide the rest."""
    return [f"{path}{column}" for column in ("api_token", "next_api_token", "former_api_token")]


class DataverseEnvironment(models.Model):
    """One Dataverse organisation and the application user that we read it as."""

    name = models.SlugField(max_length=64, unique=True)
    url = models.URLField(help_text="e.g. https://contoso.crm4.dynamics.com")
    tenant = models.CharField(max_length=128, help_text="Entra tenant id or domain")
    client_id = models.CharField(max_length=64)
    client_secret = EncryptedTextField()
    authority = models.URLField(default="https://login.microsoftonline.com")
    # The columns of a profile depend on how the customer unified their data.
    profile_email_column = models.CharField(max_length=128, default="msdynci_email")
    profile_phone_column = models.CharField(max_length=128, default="msdynci_phone")
    change_tracking = models.BooleanField(
        default=False,
        help_text="Read the changes of contacts, leads and profiles every few minutes. The application user needs the "
        "privilege to read these tables of the whole organisation, and each table its property Track changes (Power "
        "Apps: Tables, Properties, Advanced options). Its change feed tells what is missing.",
    )
    # Set where a person resumes a pause for lost mappings; cleared by the first re-check that loses few.
    losses_accepted_until = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "Dataverse environment"

    def __str__(self) -> str:
        return self.name


class MobileApp(models.Model):
    """One mobile app as Customer Insights - Journeys knows it (its Developer information tab)."""

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    org_id = models.UUIDField("organisation id")
    mobile_app_id = models.UUIDField("mobile app id")
    endpoint = models.URLField(help_text="Public endpoint, e.g. https://public-eur.mkt.dynamics.com")
    api_token = EncryptedTextField("ApiToken")
    # While it is changed: the one that is tried until CI-J accepts it, and the one from before, which phones have.
    next_api_token = EncryptedTextField("next ApiToken", blank=True, default="", editable=False)
    former_api_token = EncryptedTextField("former ApiToken", blank=True, default="", editable=False)
    api_token_changed_at = models.DateTimeField("ApiToken changed", null=True, blank=True, editable=False)
    api_token_tried_at = models.DateTimeField(null=True, blank=True, editable=False)
    dataverse = models.ForeignKey(DataverseEnvironment, models.PROTECT, related_name="apps")
    match = models.JSONField(default=default_match, help_text="Tables to look users up in, in this order")
    match_by = models.JSONField(default=default_match_by, help_text="Keys to match by, in this order")
    identity = models.CharField(
        max_length=16, choices=Identity, default=Identity.JWT, help_text="Who may say which user a phone belongs to"
    )
    installation_secrets = models.BooleanField(
        default=True,
        help_text="Phones with a mobile key get a secret with their first answer and have to show it from then on, so "
        "that a leaked installation id takes nothing over",
    )
    drop_in = models.BooleanField(
        "drop-in paths",
        default=False,
        db_default=False,
        help_text="Takes Microsoft's own registration calls (/api/v1.0/orgs/…). They are proven by the ApiToken in the "
        "app's binary, and whoever reads it there can register a phone of theirs for anybody",
    )
    default_push_consent = models.BooleanField(default=True)
    default_tracking_consent = models.BooleanField(default=True)
    default_region = models.CharField(
        max_length=2, blank=True, default="", help_text="Country (ISO 3166) of phone numbers posted without one"
    )
    requests_per_second = models.PositiveIntegerField(
        default=20, validators=[MinValueValidator(1)], help_text="Calls to this app's CI-J, on average over ten seconds"
    )
    android_stale_days = models.PositiveIntegerField(
        default=270, help_text="Android devices not seen for so many days are retired; 0: never"
    )
    max_devices_per_user = models.PositiveIntegerField(
        default=25, help_text="A user's devices beyond these, longest unseen first, are retired; 0: no limit"
    )
    # Microsoft's documentation has shown the batch cleanup with an array and with one object; learnt from a refusal.
    batch_cleanup = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    # Grows where org, mobile app id or endpoint are replaced: nobody claims for a connection that they read before.
    connection_no = models.BigIntegerField(default=1, db_default=1, editable=False)
    # Only of a row that keeps a replaced connection until all that it knows of is retired (ReplacedConnection).
    replaced_by = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, editable=False, related_name="replaced_connections"
    )
    replaced_at = models.DateTimeField(null=True, blank=True, editable=False)
    marked_to = models.BigIntegerField(
        null=True, blank=True, editable=False, help_text="Devices up to this id were marked to be registered anew"
    )
    over_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="When nothing was left under it")
    written_off = models.PositiveIntegerField(
        default=0, db_default=0, editable=False, help_text="Registrations that it may still hold: it was abandoned"
    )
    note = models.TextField(blank=True, default="", db_default="", editable=False, help_text="Why, and by whom")

    class Meta:
        verbose_name = "mobile app"
        permissions = [("pause_mobileapp", "Can pause and resume the calls of an app")]
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "mobile_app_id"],
                name="mobileapp_org_app_unique",
                condition=Q(replaced_by__isnull=True),
            ),
            models.CheckConstraint(
                name="mobileapp_drop_in_not_jwt",
                condition=Q(drop_in=False) | ~Q(identity=Identity.JWT),
                violation_error_message="The drop-in paths cannot be on under the identity policy 'jwt': there only a "
                "signed token names a user.",
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class _ReplacedConnections(models.Manager["ReplacedConnection"]):
    def get_queryset(self) -> models.QuerySet["ReplacedConnection"]:
        return super().get_queryset().filter(replaced_by__isnull=False)


class ReplacedConnection(MobileApp):
    """A connection to CI-J that an app had before: a row of its own, which desires nothing.

    What was ever registered under it points here, so that the workers clean it up there as they do for any app. The
    app itself keeps its slug, keys, users and devices.
    """

    objects: ClassVar[models.Manager["ReplacedConnection"]] = _ReplacedConnections()

    class Meta:
        proxy = True


def default_algorithms() -> list[str]:
    return ["RS256", "ES256"]


class TokenIssuer(models.Model):
    """Who signs the tokens (JWT) that name an app's users, how they are proven, and what is read from them.

    Exactly one of `jwks_url`, `public_keys` and `secret` proves them. Workers fetch the JWKS; `keys` is what they
    fetched last, and a phone never waits for it.
    """

    app = models.OneToOneField(MobileApp, models.CASCADE, related_name="token_issuer")
    issuer = models.CharField(max_length=500, help_text="The claim iss, exactly as the tokens have it")
    audience = models.CharField(max_length=500, help_text="The claim aud, or one of its values")
    jwks_url = models.URLField("JWKS URL", max_length=500, blank=True, default="")
    public_keys = models.TextField(blank=True, default="", help_text="PEM, one or several one after the other")
    secret = EncryptedTextField("shared secret", blank=True, default="")
    algorithms = models.JSONField(default=default_algorithms)
    leeway = models.PositiveSmallIntegerField(
        default=30, validators=[MaxValueValidator(300)], help_text="Seconds that the clocks may differ"
    )
    user_claim = models.CharField(max_length=128, default="sub")
    email_claim = models.CharField("e-mail claim", max_length=128, blank=True, default="email")
    phone_claim = models.CharField(max_length=128, blank=True, default="phone_number")
    installation_claim = models.CharField(
        max_length=128,
        blank=True,
        default="",
        help_text="Where set, a token is good for the installation in it only",
    )
    trust_unmarked = models.BooleanField(
        "trust unmarked addresses",
        default=False,
        help_text="Take e-mail and phone also where the token lacks email_verified or phone_number_verified: only for "
        "an issuer that proves them itself. One marked as not verified is never taken",
    )
    keys = models.JSONField(null=True, blank=True, editable=False)
    keys_fetched_at = models.DateTimeField(null=True, blank=True, editable=False)
    keys_error = models.CharField(max_length=500, blank=True, default="", editable=False)
    keys_failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    keys_asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    keys_due_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="tokenissuer_one_proof",
                condition=Q(~Q(jwks_url=""), public_keys="", secret="")
                | Q(~Q(public_keys=""), jwks_url="", secret="")
                | Q(~Q(secret=""), jwks_url="", public_keys=""),
            )
        ]

    def __str__(self) -> str:
        return self.issuer


class ApiKey(models.Model):
    """A key of one app. Only its hash is kept: the key itself is shown once, when it is made."""

    app = models.ForeignKey(MobileApp, models.CASCADE, related_name="keys")
    kind = models.CharField(max_length=8, choices=KeyKind)
    name = models.CharField(
        max_length=100, blank=True, default="", db_default="", help_text="What it is for, e.g. Android 4.2"
    )
    hint = models.CharField(max_length=16, help_text="The key's beginning, to tell keys apart")
    key_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField("last used", null=True, blank=True, help_text="to some minutes")
    revoked_at = models.DateTimeField("revoked", null=True, blank=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.hint}…"


class Pause(models.Model):
    """Calls to one app's CI-J (or one platform of it), or to one Dataverse environment, rest until a time.

    Kept in the database, so that every worker on every host sees it and none sleeps through it. When the time
    has come one small request probes; its success deletes the row, its failure moves the time on.
    """

    app = models.ForeignKey(MobileApp, models.CASCADE, null=True, blank=True, related_name="pauses")
    platform = models.CharField(max_length=8, choices=Platform, blank=True, default="")
    environment = models.ForeignKey(DataverseEnvironment, models.CASCADE, null=True, blank=True, related_name="pauses")
    reason = models.CharField(max_length=16, choices=PauseReason)
    detail = models.TextField(blank=True, default="")
    failures = models.PositiveIntegerField(default=1)
    until = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["app", "platform"], name="pause_app_unique", condition=Q(app__isnull=False)
            ),
            models.UniqueConstraint(
                fields=["environment"], name="pause_environment_unique", condition=Q(environment__isnull=False)
            ),
            models.CheckConstraint(
                name="pause_has_one_subject",
                condition=Q(app__isnull=False, environment__isnull=True)
                | Q(app__isnull=True, environment__isnull=False, platform=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.app or self.environment}: {self.get_reason_display()}"
