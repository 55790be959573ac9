"""A connection that each thread keeps for what the lane sends: prepared statements by libpq's own calls.

Whatever is unusual, a broken connection above all, is told as None and left to the ordinary path, which knows what to
do about it.
"""

import contextlib
import select
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.pq import ExecStatus

REST = 5.0  # seconds without a try after the database did not answer: the ordinary path finds that out, too

type Parameters = Sequence[
    Any
]  # bytes, as PostgreSQL reads text; None is NULL. libpq would end them at a NUL character


@dataclass(frozen=True)
class Statement:
    """SQL with $1, $2 … and the name under which a connection prepares it."""

    name: bytes
    sql: bytes


class _Own(threading.local):
    """What each thread has for itself."""

    connection: "psycopg.Connection[Any] | None" = None
    prepared: frozenset[bytes] = frozenset()
    rests_until = 0.0


_own = _Own()
_made: "weakref.WeakSet[psycopg.Connection[Any]]" = weakref.WeakSet()  # by all threads of this process


def text(value: Any) -> bytes | None:
    """A parameter: None, a number, or text."""
    return None if value is None else str(value).encode()


def flag(value: bool | None) -> bytes | None:
    """A boolean parameter."""
    return None if value is None else b"t" if value else b"f"


def binary(value: bytes | None) -> bytes | None:
    """A parameter of bytes."""
    return None if value is None else b"\\x" + value.hex().encode()


def open_connections() -> int:
    """How many this process keeps, by all its threads."""
    return sum(not made.closed for made in list(_made))


def forget_connection() -> None:
    """Close this thread's connection; the next launch makes another."""
    kept, _own.connection = _own.connection, None
    if kept is not None:
        with contextlib.suppress(psycopg.Error):
            kept.close()


def run(sent: Sequence[tuple[Statement, Parameters]]) -> list[Any] | None:
    """Send these in one round trip and one transaction; return libpq's result of each, or None where one failed."""
    if time.monotonic() < _own.rests_until:
        return None
    try:
        libpq = _connected(sent)
    except psycopg.Error:
        _own.rests_until = time.monotonic() + REST
        forget_connection()
        return None
    try:
        _send(libpq, sent)
        results = _results(libpq, len(sent))
    except psycopg.Error:
        forget_connection()
        return None
    except BaseException:
        forget_connection()  # or the next one would read this answer
        raise
    good = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
    if any(result is None or result.status not in good for result in results):
        forget_connection()  # the server was restarted, say, or is shutting down
        return None
    return results


def _send(libpq: Any, sent: Sequence[tuple[Statement, Parameters]]) -> None:
    """Where there are several, PostgreSQL makes one transaction of all that comes before a sync, and ends it there: all
    of it or nothing."""
    if len(sent) > 1:
        libpq.enter_pipeline_mode()
    for statement, parameters in sent:
        if settings.TOKENHUB_PGBOUNCER:
            libpq.send_query_params(statement.sql, parameters)
        else:
            libpq.send_query_prepared(statement.name, parameters)
    if len(sent) > 1:
        libpq.pipeline_sync()
        while libpq.flush():
            _wait(libpq, select.POLLOUT)


def _results(libpq: Any, count: int) -> list[Any]:
    results = []
    for _ in range(count):
        results.append(_next(libpq))
        _next(libpq)  # None: the end of that statement's results
    if count > 1:
        _next(libpq)  # the sync: committed
        libpq.exit_pipeline_mode()
    return results


def _next(libpq: Any) -> Any:
    while libpq.is_busy():
        _wait(libpq, select.POLLIN)
        libpq.consume_input()
    return libpq.get_result()


def _wait(libpq: Any, what: int) -> None:
    """Without the GIL, which libpq's own waiting would hold."""
    poll = select.poll()
    poll.register(libpq.socket, what)
    poll.poll()


def _connected(sent: Sequence[tuple[Statement, Parameters]]) -> Any:
    if _own.connection is None:
        _own.connection, _own.prepared = _connect(), frozenset()
    libpq = _own.connection.pgconn
    if not settings.TOKENHUB_PGBOUNCER:
        for statement, _ in sent:
            if statement.name not in _own.prepared:
                libpq.prepare(statement.name, statement.sql)
                _own.prepared |= {statement.name}
    return libpq


def _connect() -> "psycopg.Connection[Any]":
    django_s_own = ("context", "cursor_factory", "prepare_threshold")
    parameters = {name: value for name, value in connection.get_connection_params().items() if name not in django_s_own}
    made = psycopg.connect(**parameters, autocommit=True)
    _made.add(made)
    return made
