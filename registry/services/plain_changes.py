"""The launches that change something and are plain, written in one round trip, as `repeats` tells those that do not.

A push token that a known phone has renewed, and a phone that nobody knew, with its user or without: nearly all of what
is not a repeat. Whatever else there is to weigh (a token that another phone had, another user, a secret to be proven
first, a phone that lives again) finds no row here, changes nothing, and is left to `registry.services.ingest`, whose
rules these are.

The locks and the UPDATE or the INSERT are sent together and are one transaction: PostgreSQL ends the one that it began
by itself where the client's batch ends. The locks are the first, so that the other sees what was committed by whoever
had them before.
"""

from registry.crypto import sha256
from registry.models import MobileApp
from registry.ports import say_soon
from registry.services import correlation, own_connection
from registry.services.ingest import INFO_FIELDS, LAUNCHES, Launch, Result
from registry.services.installations import new_secret
from registry.services.locking import lock_keys
from registry.services.own_connection import Parameters, Statement, binary, flag, text

_LOCK = Statement(b"lock", b"SELECT pg_advisory_xact_lock($1::bigint), pg_advisory_xact_lock($2::bigint)")

# What all three conditions of a user are about: not said, nobody, or this one, of whom nothing new is said.
_USER = """u.app_id = $1::bigint AND u.external_id = $15::text
        AND ($16::text IS NULL OR u.email = $16) AND ($17::text IS NULL OR u.phone = $17)
        AND ($18::bool IS NULL OR u.push_consent = $18) AND ($19::bool IS NULL OR u.tracking_consent = $19)
        AND EXISTS (SELECT FROM registry_dataversemapping m WHERE m.user_id = u.id)"""
_UNUSED = """NOT EXISTS (
        SELECT FROM registry_device o WHERE o.app_id = $1::bigint AND o.token_hash = $4::bytea AND o.retired_at IS NULL
    )"""

_RENEW = Statement(
    b"renew",
    f"""
UPDATE registry_device d SET
    token = $3::text, token_hash = $4::bytea, former_token_hash = d.token_hash, token_changed_at = now(),
    last_seen = now(), revision = d.revision + 1, changed_by = $20::uuid, changed_at = now(),
    app_version = coalesce($6::text, d.app_version), os_version = coalesce($7::text, d.os_version),
    model = coalesce($8::text, d.model), locale = coalesce($9::text, d.locale),
    time_zone = coalesce($10::text, d.time_zone),
    sequence = coalesce($11::bigint, d.sequence), user_tokens_from = greatest(d.user_tokens_from, $12::bigint)
WHERE d.app_id = $1::bigint AND d.installation_id = $2::text AND d.platform = $5::text
    AND d.retired_at IS NULL AND d.erasure_id IS NULL AND {_UNUSED}
    -- Nothing of a token that comes back, which two phones with one installation id would do.
    AND d.former_token_hash <> $4::bytea AND d.token_returned_at IS NULL AND d.shared_since IS NULL
    AND CASE WHEN $11::bigint IS NOT NULL AND d.sequence IS NOT NULL THEN $11::bigint >= d.sequence
             ELSE $12::bigint IS NULL OR $12::bigint >= d.user_tokens_from END
    AND ($13::bytea IS NULL OR d.secret_shown AND d.secret_hash = $13::bytea)
    AND CASE WHEN $14::bool THEN true
             WHEN $15::text IS NULL THEN d.user_id IS NULL
             ELSE EXISTS (SELECT FROM registry_mobileuser u WHERE u.id = d.user_id AND {_USER}) END
""".encode(),  # noqa: S608 our own words
)

_MAKE = Statement(
    b"make",
    f"""
WITH free AS MATERIALIZED (
    SELECT WHERE {_UNUSED} AND NOT EXISTS (
        SELECT FROM registry_device o WHERE o.app_id = $1::bigint AND o.installation_id = $2::text
    )
), known AS MATERIALIZED (
    -- Whose other phones have to be counted is not for here.
    SELECT u.id FROM registry_mobileuser u, free
    WHERE NOT $14::bool AND NOT $21::bool AND {_USER}
    FOR NO KEY UPDATE OF u
), made AS (
    INSERT INTO registry_mobileuser (app_id, external_id, email, phone, push_consent, tracking_consent)
    SELECT $1::bigint, $15::text, coalesce($16::text, ''), coalesce($17::text, ''),
        coalesce($18::bool, $22::bool), coalesce($19::bool, $23::bool)
    FROM free WHERE NOT $14::bool AND $15::text IS NOT NULL
    ON CONFLICT (app_id, external_id) DO NOTHING
    RETURNING id
), mapping AS (
    INSERT INTO registry_dataversemapping
        (user_id, state, "table", matched_by, candidates, detail, attempts, claim_no, due_at, asked_by)
    SELECT id, 'pending', '', '', '[]', '', 0, 0, now(), $20::uuid FROM made
    RETURNING user_id
), device AS (
    INSERT INTO registry_device
        (app_id, installation_id, token, token_hash, platform, app_version, os_version, model, locale, time_zone,
         sequence, user_tokens_from, secret_hash, user_id, retired_reason, revision, planned_revision,
         changed_by, changed_at)
    SELECT $1::bigint, $2::text, $3::text, $4::bytea, $5::text, coalesce($6::text, ''), coalesce($7::text, ''),
        coalesce($8::text, ''), coalesce($9::text, ''), coalesce($10::text, ''),
        $11::bigint, greatest($12::bigint, 0), coalesce($13::bytea, ''), person.id, '', 1, 0,
        $20::uuid, now()
    FROM free, (
        SELECT id FROM known UNION ALL SELECT id FROM made
        UNION ALL SELECT NULL WHERE $14::bool OR $15::text IS NULL
    ) AS person
    RETURNING id
)
SELECT EXISTS (SELECT FROM mapping) FROM device
""".encode(),  # noqa: S608 our own words
)


def record_plainly(app: MobileApp, launch: Launch, *, new: bool) -> tuple[Result, str] | None:
    """Write a launch that is valid and plain; return what it changed, and the secret to hand out with the answer.

    `new`: nobody knew the phone a moment ago. None where the launch is not plain, or not any more, or the database did
    not tell. Where it had written all the same and the answer got lost, the ordinary path finds a launch that it knows.
    """
    if launch.new_token_signs_out or launch.seen_at or (launch.user and launch.user.dataverse_id):
        return None
    secret = new_secret() if new and launch.secret is not None else ""
    results = own_connection.run(_statements(app, launch, new=new, secret=secret))
    written = results[1] if results else None
    if not written or not written.command_tuples:
        return None
    if not new:
        return _told(app, Result.UPDATED, {"plan"}), ""
    return _told(app, Result.CREATED, {"plan", "map"} if written.get_value(0, 0) == b"t" else {"plan"}), secret


def _statements(app: MobileApp, launch: Launch, *, new: bool, secret: str) -> list[tuple[Statement, Parameters]]:
    token_hash = sha256(launch.token)
    user = launch.user
    given = user.given if user else {}
    keys = lock_keys(f"installation:{app.pk}:{launch.installation_id}", f"token:{app.pk}:{token_hash.hex()}")
    phone = [
        text(app.pk),
        text(launch.installation_id),
        text(launch.token),
        binary(token_hash),
        text(launch.platform),
        *(text(launch.info.get(name)) for name in INFO_FIELDS),
        text(launch.sequence),
        text(launch.user_token_issued_at),
    ]
    person = [
        flag(launch.keep_user),
        text(user.external_id if user else None),
        text(given.get("email")),
        text(given.get("phone")),
        flag(given.get("push_consent")),
        flag(given.get("tracking_consent")),
        text(correlation.current()),
    ]
    locks = (_LOCK, [text(keys[0]), text(keys[-1])])
    if not new:
        shown = binary(None if launch.secret is None else sha256(launch.secret))
        return [locks, (_RENEW, [*phone, shown, *person])]
    handed_out = binary(sha256(secret) if secret else None)
    defaults = [flag(bool(app.max_devices_per_user)), flag(app.default_push_consent)]
    return [locks, (_MAKE, [*phone, handed_out, *person, *defaults, flag(app.default_tracking_consent)])]


def _told(app: MobileApp, result: Result, steps: set[str]) -> Result:
    LAUNCHES.add(app.slug, result.value)
    say_soon(steps)
    return result
