"""Whether a launch says anything new, as one prepared SELECT on a connection that its thread keeps.

The ORM and the connection handling around one SELECT cost many times the SELECT, and nearly every launch is one that
changes nothing. So those are told from the others here, below both: by libpq's own call. Whatever is unusual, a broken
connection above all, is left to the ordinary path, which knows what to do.
"""

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.pq import ExecStatus

from registry.crypto import sha256
from registry.services.ingest import INFO_FIELDS, Launch

REST = 5.0  # seconds without a try after the database did not answer: the ordinary path finds that out, too

# The row of a launch that changes nothing, and no row for any other: what `registry.services.ingest` does step by step.
_UNCHANGED = b"""
SELECT FROM registry_device d LEFT JOIN registry_mobileuser u ON u.id = d.user_id
WHERE d.app_id = $1::bigint AND d.installation_id = $2::text
    AND d.token = $3::text AND d.platform = $4::text AND d.retired_at IS NULL
    AND d.last_seen >= now() - $5::interval
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
"""
_NAME = b"unchanged"
_GIVEN = ("email", "phone", "push_consent", "tracking_consent")


def changes_nothing(app_id: int, launch: Launch) -> bool:
    """Whether the tables say all that the launch says, so that nothing has to be written.

    Its texts have to be free of NUL, where libpq would end them. False also where the database did not tell.
    """
    user, info = launch.user, launch.info
    given = user.given if user else {}
    secret = None if launch.secret is None else sha256(launch.secret).hex()
    return _finds_a_row(
        [
            str(app_id).encode(),
            launch.installation_id.encode(),
            launch.token.encode(),
            launch.platform.encode(),
            b"%d seconds" % settings.TOKENHUB_LAST_SEEN_INTERVAL.total_seconds(),
            *(_text(info.get(name)) for name in INFO_FIELDS),
            _text(launch.sequence),
            _text(launch.user_token_issued_at),
            None if secret is None else f"\\x{secret}".encode(),
            b"t" if launch.keep_user else b"f",
            None if user is None else user.external_id.encode(),
            *(_text(given.get(name)) for name in _GIVEN),
        ]
    )


def _text(value: Any) -> bytes | None:
    return None if value is None else str(value).encode()


class _Own(threading.local):
    """What each thread has for itself."""

    connection: "psycopg.Connection[Any] | None" = None
    rests_until = 0.0


_own = _Own()


def forget_connection() -> None:
    """Close this thread's connection; the next launch makes another."""
    kept, _own.connection = _own.connection, None
    if kept is not None:
        with contextlib.suppress(psycopg.Error):
            kept.close()


def _finds_a_row(parameters: Sequence[Any]) -> bool:  # psycopg's stubs know of no NULL among them
    if time.monotonic() < _own.rests_until:
        return False
    try:
        if _own.connection is None:
            _own.connection = _connect()
        libpq = _own.connection.pgconn
        if settings.TOKENHUB_PGBOUNCER:
            result = libpq.exec_params(_UNCHANGED, parameters)
        else:
            result = libpq.exec_prepared(_NAME, parameters)
    except psycopg.Error:
        _own.rests_until = time.monotonic() + REST
        forget_connection()
        return False
    if result.status != ExecStatus.TUPLES_OK:  # the server was restarted, say, or is shutting down
        forget_connection()
        return False
    return result.ntuples == 1


def _connect() -> "psycopg.Connection[Any]":
    django_s_own = ("context", "cursor_factory", "prepare_threshold")
    parameters = {name: value for name, value in connection.get_connection_params().items() if name not in django_s_own}
    made = psycopg.connect(**parameters, autocommit=True)
    if not settings.TOKENHUB_PGBOUNCER:
        made.pgconn.prepare(_NAME, _UNCHANGED)
    return made
