"""Every state and kind, with one line on what it means. docs/states.md draws the transitions."""

from django.db.models import IntegerChoices, TextChoices

# What people of the admin may do; each also what the ones before it may (registry.services.roles).
ROLES = VIEWER, OPERATOR, ADMINISTRATOR = "viewer", "operator", "administrator"


class Platform(TextChoices):
    IOS = "ios", "iOS"
    ANDROID = "android", "Android"


class KeyKind(TextChoices):
    MOBILE = "mobile", "mobile"  # inside the app's binary: posts its own devices and events
    SERVER = "server", "server"  # on the customer's servers: may also name users


class Identity(TextChoices):
    """Who may say which user a device belongs to."""

    JWT = "jwt", "a signed token of the user's (JWT), or a server key"
    BACKEND = "backend", "only server keys"
    UNVERIFIED = "unverified", "any key: anybody can get anybody's messages (for trying out)"


class DataverseTable(TextChoices):
    CONTACT = "contact", "contact"
    LEAD = "lead", "lead"
    PROFILE = "profile", "Customer Insights - Data profile"


class MatchKey(TextChoices):
    EMAIL = "email", "e-mail"
    PHONE = "phone", "phone"


# Beside these: the app itself said which record its user is, or a person chose it.
GIVEN = "given"
PINNED = "pinned"
BELIEVED = (GIVEN, PINNED)  # and not looked up


class MappingState(TextChoices):
    """What we know of an app user's record in Dataverse."""

    PENDING = "pending", "to be looked up"
    MAPPED = "mapped", "mapped to one active record"
    AMBIGUOUS = "ambiguous", "several active records match: a person or a policy decides"
    NOT_FOUND = "not_found", "no record matches yet: looked for again later"


class RegistrationState(TextChoices):
    """What we believe CI-J knows of one (app, Dataverse user, token)."""

    READY = "ready", "to be sent"
    SENT = "sent", "accepted by CI-J, outcome not known yet"
    REGISTERED = "registered", "confirmed by CI-J"
    FAILED = "failed", "refused for good, with a reason"
    RETIRING = "retiring", "to be cleaned up, or accepted and settling"
    RETIRED = "retired", "cleaned up, or never sent"


class Step(TextChoices):
    """Whose turn a registration is: follows from its state and from whether it is desired."""

    PUSH = "push", "register"
    CONFIRM = "confirm", "ask for the outcome"
    CLEANUP = "cleanup", "clean up"


class DeviceState(TextChoices):
    """The one answer to "will this phone get the push?"; the first that applies."""

    RETIRED = "retired", "The device was deleted or retired; it lives again when its app posts again."
    NO_USER = "no_user", "Nobody is signed in on this device."
    OPTED_OUT = "opted_out", "The user has opted out of push notifications."
    MAPPING = "mapping", "The user is being looked up in Dataverse."
    AMBIGUOUS = "ambiguous", "Several active Dataverse records match this user; one has to be chosen."
    NOT_FOUND = "not_found", "No Dataverse record matches this user's e-mail or phone yet; it is looked for again."
    PENDING = "pending", "The registration is on its way to Customer Insights - Journeys."
    REGISTERED = "registered", "Customer Insights - Journeys confirmed the registration."
    FAILED = "failed", "Customer Insights - Journeys refused the registration."


class RetiredReason(TextChoices):
    """Why a device is retired."""

    DELETED = "deleted", "deleted by its app"
    TOKEN_MOVED = "token_moved", "another installation posted the same token later"
    STALE = "stale", "not seen for too long"
    TOO_MANY = "too_many", "its user has too many devices that were seen since"
    ERASED = "erased", "its user was erased"
    BY_HAND = "by_hand", "a person retired it"


class ErasureState(TextChoices):
    """How far the erasure of a user is."""

    WAITING = "waiting", "waits until CI-J has accepted the cleanup"
    DONE = "done", "CI-J accepted the cleanup; everything is deleted"
    FORCED = "forced", "deleted without waiting for CI-J"


class FailureReason(TextChoices):
    """Why a registration failed for good; the label says what a person can do."""

    DRY_RUN = (
        "DryRunSendingFailed",
        "A test message to the token failed: the token is wrong or expired, or the app's push credentials in "
        "Customer Insights - Journeys are. It is tried again when the phone posts a new token.",
    )
    TOKEN_TOO_LONG = (
        "DeviceTokenTooLong",
        "Customer Insights - Journeys cannot store the token: iOS apps must post the raw APNs token.",
    )
    REFUSED = (
        "Refused",
        "Customer Insights - Journeys refused this registration alone with 400 while others passed: check its token.",
    )
    UNKNOWN = (
        "Unknown",
        "No outcome after several rounds. Documented causes: a wrong ApiToken, a throttled CRM, or a registration "
        "that was not tracked. Check the ApiToken first.",
    )


class EventState(TextChoices):
    """Where an interaction event stands."""

    READY = "ready", "to be relayed"
    RELAYED = "relayed", "accepted by CI-J"
    NOT_RELAYED = "not_relayed", "kept, not to be relayed: see the reason"
    FAILED = "failed", "refused by CI-J, or given up: an administrator replays or discards it"


class NotRelayedReason(TextChoices):
    """Why an event is kept and not relayed."""

    TEST_SEND = "test_send", "a test send carries no tracking id"
    NO_CONSENT = "no_tracking_consent", "the user has not consented to tracking"
    UNKNOWN_DEVICE = "unknown_device", "no device with this installation id or token is known"
    TOO_OLD = "too_old", "it happened too long ago: CI-J would take it for one of today"
    DISCARDED = "discarded", "an administrator discarded it after it had been refused or given up"
    ABANDONED = "abandoned", "its connection to Customer Insights - Journeys was replaced, and is gone for good"


class PauseReason(TextChoices):
    """Why calls to one app's CI-J or to one Dataverse environment rest."""

    THROTTLED = "throttled", "Microsoft asked us to wait"
    CREDENTIALS = "credentials", "the credentials are refused"
    CONFIGURATION = "configuration", "everything is refused: org, mobile app id or ApiToken are wrong"
    UNAVAILABLE = "unavailable", "it does not answer"
    MAPPINGS_LOST = (
        "mappings_lost",
        "most of the records that users are mapped to are gone: check that tokenhub's application user in Dataverse "
        "still may read contacts, leads and profiles of the whole organisation; if they were really deleted, accept "
        "that with manage.py resume_app",
    )
    DRY_RUN = "dry_run", "test messages to many tokens fail: the app's push credentials there are wrong or expired"
    BY_HAND = "by_hand", "a person paused it, and it rests until a person resumes it"


class BulkKind(TextChoices):
    """What people have done to many rows at once."""

    RETRY = "retry", "try again"
    CHECK = "check", "check now"
    RETIRE = "retire", "retire and clean up"
    MAP_AGAIN = "map_again", "map again"
    IMPORT = "import", "import devices"
    REPLAY = "replay", "replay events"
    DISCARD = "discard", "discard events"


class BulkState(TextChoices):
    """How far such work is."""

    WAITING = "waiting", "waits for a worker"
    RUNNING = "running", "is being done"
    DONE = "done", "done"
    STOPPED = "stopped", "stopped by a person; what was done stays"
    FAILED = "failed", "ended by an error; what was done stays"


class HistoryKind(IntegerChoices):
    """What a line of the timeline tells of. The numbers stand in triggers and in old rows: add, never renumber."""

    CREATED = 1, "first launch"
    TOKEN_CHANGED = 2, "new token"
    SIGNED_IN = 3, "signed in"
    SIGNED_OUT = 4, "signed out"
    PLATFORM_CHANGED = 5, "platform corrected"
    RETIRED = 6, "retired"
    BACK = 7, "back again"
    SHARED = 8, "installation id shared"
    USER_CHANGED = 20, "user changed"
    MAPPING_CHANGED = 30, "mapping changed"
    MAPPING_DECIDED = 31, "mapping decided by a person"
    REGISTERED = 40, "registered"
    FAILED = 41, "registration failed"
    NOT_ANSWERED = 42, "tried in vain"
    NO_OUTCOME = 43, "no outcome came"
    CLEANED_UP = 44, "cleaned up"
    PAUSE_ENDED = 60, "pause ended"


class AlertEvent(TextChoices):
    """What people are told of an alert."""

    RAISED = "raised", "it was raised"
    REMINDER = "reminder", "it is still open"
    OVER = "over", "it is over"


class AlertChannel(TextChoices):
    """How they are told."""

    EMAIL = "email", "e-mail"
    WEBHOOK = "webhook", "webhook"
