"""Devices that are new in every respect, written many at a time.

By hand, with one JSON parameter for all rows: the ORM makes one for every value, which cost an import of a million rows
more than everything else together. Lists are JSON, too: of an array psycopg looks for a dumper for each value.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import connection

from registry.crypto import sha256
from registry.models import Device, MobileApp
from registry.ports import announce
from registry.services import correlation
from registry.services.hygiene import retire_surplus
from registry.services.ingest import Launch
from registry.services.locking import lock

# A plan is for some hundreds of rows by index: not for workers, which take longer to start than it does, nor, kept as
# those of foreign keys are, for tables as small as they were when it was made.
_PLAN_BY_INDEX = """
SELECT set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_seqscan', 'off', true)
"""

# The app is a subquery's for the reason that `registry.services.bulk.opaque` gives.
_TAKEN = """
SELECT installation_id, token FROM registry_device
WHERE app_id = (SELECT %(app)s::bigint)
    AND installation_id = ANY(ARRAY(SELECT json_array_elements_text(%(installations)s)))
UNION ALL
SELECT installation_id, token FROM registry_device
WHERE app_id = (SELECT %(app)s::bigint)
    AND token_hash = ANY(ARRAY(SELECT decode(json_array_elements_text(%(hashes)s), 'hex'))) AND retired_at IS NULL
"""

_MAKE_USERS = """
INSERT INTO registry_mobileuser (app_id, external_id, email, phone, push_consent, tracking_consent)
SELECT %(app)s, told.external_id, coalesce(told.email, ''), coalesce(told.phone, ''),
    coalesce(told.push_consent, %(push_consent)s), coalesce(told.tracking_consent, %(tracking_consent)s)
FROM json_to_recordset(%(rows)s) AS told(
    external_id text, email text, phone text, push_consent boolean, tracking_consent boolean
)
WHERE NOT EXISTS (
    SELECT FROM registry_mobileuser known
    WHERE known.app_id = (SELECT %(app)s::bigint) AND known.external_id = told.external_id
)
ORDER BY told.external_id
ON CONFLICT DO NOTHING
"""

_LOCK_USERS = """
SELECT id, external_id, email, phone, push_consent, tracking_consent FROM registry_mobileuser
WHERE app_id = (SELECT %(app)s::bigint) AND external_id = ANY(ARRAY(SELECT json_array_elements_text(%(names)s)))
ORDER BY id FOR NO KEY UPDATE
"""

_MAKE_DEVICES = """
INSERT INTO registry_device (
    app_id, installation_id, platform, token, token_hash, user_id, app_version, os_version, model, locale, time_zone,
    retired_reason, last_seen, sequence, revision, planned_revision, changed_by, changed_at
)
SELECT %(app)s, installation_id, platform, token, decode(token_hash, 'hex'), user_id, coalesce(app_version, ''),
    coalesce(os_version, ''), coalesce(model, ''), coalesce(locale, ''), coalesce(time_zone, ''),
    '', coalesce(last_seen, now()), sequence, 1, 0, %(changed_by)s, now()
FROM json_to_recordset(%(rows)s) AS told(
    installation_id text, platform text, token text, token_hash text, user_id bigint, app_version text,
    os_version text, model text, locale text, time_zone text, last_seen timestamptz, sequence bigint
)
"""

_MAKE_MAPPINGS = """
INSERT INTO registry_dataversemapping (
    user_id, state, "table", matched_by, candidates, detail, attempts, due_at, claim_no, asked_by
)
SELECT json_array_elements_text(%(users)s)::bigint, 'pending', '', '', '[]', '', 0, now(), 0, %(asked_by)s
ON CONFLICT DO NOTHING
"""

_CROWDED = """
SELECT user_id FROM registry_device
WHERE user_id = ANY(ARRAY(SELECT json_array_elements_text(%(users)s)::bigint)) AND retired_at IS NULL
GROUP BY user_id HAVING count(*) > %(most)s
"""


def create_new(app: MobileApp, launches: Sequence[Launch]) -> list[bool]:
    """Write those that are new in every respect; return for each whether it was. Called in a transaction.

    No two of them share an installation or a token, or tell one user in different words. The locks are those of a
    launch, so that a phone that posts meanwhile waits, and nobody finds half of a row.
    """
    hashes = {launch.token: sha256(launch.token).hex() for launch in launches}
    _run(_PLAN_BY_INDEX)
    lock(*_locks(app, launches, hashes))
    taken = _run(
        _TAKEN,
        app=app.pk,
        installations=json.dumps([launch.installation_id for launch in launches]),
        hashes=json.dumps(list(hashes.values())),
    )
    installations, tokens = {name for name, _ in taken}, {token for _, token in taken}
    free = [launch for launch in launches if launch.installation_id not in installations and launch.token not in tokens]
    users = _users(app, free)
    # Whoever is told otherwise than we know goes the way of a launch.
    free = [launch for launch in free if launch.user is None or launch.user.external_id in users]
    if free:
        rows = json.dumps([_row(launch, users, hashes) for launch in free])
        _run(_MAKE_DEVICES, app=app.pk, rows=rows, changed_by=correlation.current())
        _run(_MAKE_MAPPINGS, users=json.dumps(sorted(users.values())), asked_by=correlation.current())
        _keep_within_limit(app, free, users)
        announce(["plan", "map"])
    created = {launch.installation_id for launch in free}
    return [launch.installation_id in created for launch in launches]


def _locks(app: MobileApp, launches: Iterable[Launch], hashes: dict[str, str]) -> Iterator[str]:
    for launch in launches:
        yield f"installation:{app.pk}:{launch.installation_id}"
        yield f"token:{app.pk}:{hashes[launch.token]}"


def _users(app: MobileApp, launches: Sequence[Launch]) -> dict[str, int]:
    """The users whom the launches name, locked, the unknown ones made; not those of whom we know something else."""
    told = {launch.user.external_id: launch.user.given for launch in launches if launch.user}
    if not told:
        return {}
    _run(
        _MAKE_USERS,
        app=app.pk,
        push_consent=app.default_push_consent,
        tracking_consent=app.default_tracking_consent,
        rows=json.dumps([{"external_id": name, **given} for name, given in told.items()]),
    )
    locked = {}
    for pk, name, *values in _run(_LOCK_USERS, app=app.pk, names=json.dumps(list(told))):
        known = dict(zip(("email", "phone", "push_consent", "tracking_consent"), values, strict=True))
        if told[name].items() <= known.items():
            locked[name] = pk
    return locked


def _row(launch: Launch, users: dict[str, int], hashes: dict[str, str]) -> dict[str, Any]:
    return {
        "installation_id": launch.installation_id,
        "platform": launch.platform,
        "token": launch.token,
        "token_hash": hashes[launch.token],
        "user_id": users[launch.user.external_id] if launch.user else None,
        "last_seen": launch.seen_at.isoformat() if launch.seen_at else None,
        "sequence": launch.sequence,
        **launch.info,
    }


def _keep_within_limit(app: MobileApp, launches: Sequence[Launch], users: dict[str, int]) -> None:
    """Of each user who has too many devices now the last of these launches' stays, as if they had posted in turn."""
    most = app.max_devices_per_user
    if not most:
        return
    newest = {users[launch.user.external_id]: launch.installation_id for launch in launches if launch.user}
    for (user,) in _run(_CROWDED, users=json.dumps(list(newest)), most=most):
        retire_surplus(app, Device.objects.get(app=app, installation_id=newest[user]))


def _run(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []
