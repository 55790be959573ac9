"""What the tables say of a launch, as one prepared SELECT on a connection that its thread keeps.

The ORM and the connection handling around one SELECT cost many times the SELECT, and nearly every launch is one that
changes nothing. So those are told from the others here, below both.
"""

from enum import Enum

from django.conf import settings

from registry.crypto import sha256
from registry.services import own_connection
from registry.services.ingest import INFO_FIELDS, Launch
from registry.services.own_connection import Statement, binary, flag, text

# A row where the phone is known, true where its launch changes nothing: what `registry.services.ingest` does step by
# step.
_UNCHANGED = Statement(
    b"unchanged",
    b"""
SELECT d.token = $3::text AND d.platform = $4::text AND d.retired_at IS NULL
    AND d.last_seen >= now() - $5::interval
    -- Nor is its registration doubted since a restore (registry.services.reconcile).
    AND NOT EXISTS (SELECT FROM registry_reconciliation r WHERE r.app_id = d.app_id AND r.started_at >= d.last_seen)
    -- Only what was posted counts.
    AND ($6::text IS NULL OR d.app_version = $6) AND ($7::text IS NULL OR d.os_version = $7)
    AND ($8::text IS NULL OR d.model = $8) AND ($9::text IS NULL OR d.locale = $9)
    AND ($10::text IS NULL OR d.time_zone = $10)
    -- The same number as last time, and the same user token: a higher one is written, a lower one is stale.
    AND ($11::bigint IS NULL OR d.sequence = $11)
    AND ($12::bigint IS NULL OR d.user_tokens_from = $12)
    -- The installation's own secret, where it has to be shown, shown before.
    AND ($13::bytea IS NULL OR d.secret_shown AND d.secret_hash = $13)
    -- Who is signed in: not said, nobody, or this user.
    AND ($14::bool OR u.external_id IS NOT DISTINCT FROM $15::text)
    AND ($16::text IS NULL OR u.email = $16) AND ($17::text IS NULL OR u.phone = $17)
    AND ($18::bool IS NULL OR u.push_consent = $18) AND ($19::bool IS NULL OR u.tracking_consent = $19)
FROM registry_device d LEFT JOIN registry_mobileuser u ON u.id = d.user_id
WHERE d.app_id = $1::bigint AND d.installation_id = $2::text
""",
)
_GIVEN = ("email", "phone", "push_consent", "tracking_consent")


class Found(Enum):
    """What the tables say: all that the launch says, so that nothing has to be written; something else; or nothing of
    its phone."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    NEW = "new"


def compare(app_id: int, launch: Launch) -> Found | None:
    """Tell a launch that repeats what is known from a change of a known phone, and from a new one.

    The launch's texts have to be free of NUL, where libpq would end them. None where the database did not tell.
    """
    user, info = launch.user, launch.info
    given = user.given if user else {}
    parameters = [
        text(app_id),
        text(launch.installation_id),
        text(launch.token),
        text(launch.platform),
        b"%d seconds" % settings.TOKENHUB_LAST_SEEN_INTERVAL.total_seconds(),
        *(text(info.get(name)) for name in INFO_FIELDS),
        text(launch.sequence),
        text(launch.user_token_issued_at),
        binary(None if launch.secret is None else sha256(launch.secret)),
        flag(launch.keep_user),
        text(user.external_id if user else None),
        *(text(given.get(name)) for name in _GIVEN),
    ]
    results = own_connection.run([(_UNCHANGED, parameters)])
    if results is None:
        return None
    if not results[0].ntuples:
        return Found.NEW
    return Found.UNCHANGED if results[0].get_value(0, 0) == b"t" else Found.CHANGED
