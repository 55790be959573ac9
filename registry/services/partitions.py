"""Tables that PostgreSQL keeps in partitions by time: made ahead, dropped behind as a whole.

Rows for which no partition was made (the hourly hygiene was away for weeks) go into the default partition, so that
nothing is ever refused; the next maintenance makes an ordinary partition of it, without moving a row. Each change takes
its lock for a moment or not at all: where somebody holds the table for long it is tried again an hour later.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction
from psycopg import sql
from psycopg.errors import LockNotAvailable

from registry.services import clock
from registry.services.locking import lock

logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 0.5  # seconds for which others may have to stand behind us in the queue for the table
ATTEMPTS = 5
AHEAD = 4  # periods
DELETE_BATCH = 10_000
A_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Partitioned:
    """A table in partitions of one `period` each, by a `column` that is about the time of the insert.

    A partition goes when all of it is older than `keep`, unless one of its rows fulfils `unless` (SQL).
    """

    table: str
    column: str
    period: timedelta
    keep: timedelta
    unless: str = "false"

    @property
    def default(self) -> str:
        return f"{self.table}_default"


def tables() -> list[Partitioned]:
    """Every partitioned table. Their migrations have a registry.partitioning.PartitionByTime."""
    return [
        Partitioned(
            "registry_interactionevent",
            "received_at",
            period=settings.TOKENHUB_EVENT_PARTITION,
            keep=settings.TOKENHUB_PURGE_EVENTS,
            unless="due_at IS NOT NULL",
        ),
        Partitioned("registry_historyentry", "at", period=timedelta(days=7), keep=settings.TOKENHUB_HISTORY),
    ]


@dataclass(frozen=True)
class Partition:
    """One partition; the default one has no bounds. `rows` is what PostgreSQL estimates."""

    name: str
    start: datetime | None
    end: datetime | None
    rows: int
    size: int  # bytes, with indexes


def maintain_all() -> int:
    """Maintain every partitioned table; return how many partitions were made or dropped."""
    return sum(maintain(table) for table in tables())


def maintain(table: Partitioned) -> int:
    """Make the partitions of the next periods, drop what is behind; return how many were made or dropped.

    Safe to repeat, and beside anybody: workers, web processes, another maintenance.
    """
    now = clock.now()
    done = 0
    if not partitions(table):
        return 0  # its migration is yet to come
    try:
        _delete_overdue(table, now - table.keep)
        done += _adopt_default(table, now)
        while _briefly(table, lambda: _make_next(table, now)):
            done += 1
        for partition in partitions(table):
            if partition.end and partition.end <= now - table.keep:
                done += _briefly(table, lambda old=partition.name: _drop(table, old))  # type: ignore[misc]
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        logger.warning("%s is held by somebody for long: its partitions wait for the next time", table.table)
    return done


def partitions(table: Partitioned) -> list[Partition]:
    """What there is, the oldest first; the default partition last."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTITIONS, [table.table])
        return [Partition(*row) for row in cursor.fetchall()]


_PARTITIONS = r"""
SELECT name, bound[1]::timestamptz AS start, bound[2]::timestamptz, rows, size FROM (
    SELECT c.relname::text AS name, greatest(c.reltuples, 0)::bigint AS rows, pg_total_relation_size(c.oid) AS size,
        regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('(.+)'\) TO \('(.+)'\)$$) AS bound
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass(%s)
) found ORDER BY start NULLS LAST
"""


def _make_next(table: Partitioned, now: datetime) -> bool:
    """Make one partition, behind the last one, until there are enough."""
    last = max((partition.end for partition in partitions(table) if partition.end), default=now)
    start = max(last, _period(table, now)) if last != now else _period(table, now)
    if start > now + AHEAD * table.period:
        return False
    name = _name(table, start)
    # Attached, not made in its place: that takes no lock that stops anybody.
    _execute("CREATE TABLE {name} (LIKE {table} INCLUDING ALL EXCLUDING IDENTITY)", table, name=name)
    _attach(table, name, start, _period(table, start) + table.period)
    return True


def _drop(table: Partitioned, name: str) -> bool:
    # In the order in which queries lock; nobody changes a row of it from here on.
    _execute("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", table)
    if _value("SELECT EXISTS (SELECT FROM {name} WHERE {unless})", table, name=name):
        return False
    _execute("DROP TABLE {name}", table, name=name)
    logger.info("%s was dropped: all of it was older than %s", name, table.keep)
    return True


def _delete_overdue(table: Partitioned, before: datetime) -> None:
    """What is too old in the default partition is deleted row by row: it may never become a partition of its own."""
    statement = (
        "WITH gone AS (DELETE FROM {default} WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM {default} WHERE {column} < {before} AND NOT ({unless}) LIMIT {batch}"
        ")) RETURNING 1) SELECT count(*) FROM gone"
    )
    while _value(statement, table, before=before, batch=DELETE_BATCH) == DELETE_BATCH:
        pass


def _adopt_default(table: Partitioned, now: datetime) -> int:
    """Make an ordinary partition of the default one where it has rows, and a new default partition.

    1. A check says that all rows lie in the partition to be, and is validated while everybody works on.
    2. For a moment the table is locked: PostgreSQL believes the check and looks at no row.
    """
    _briefly(table, lambda: _uncheck(table, table.default))  # of somebody who was killed between the two
    oldest, newest = _values("SELECT min({column}), max({column}) FROM {default}", table)
    if oldest is None:
        return 0
    bounds = [(part.start, part.end) for part in partitions(table) if part.start and part.end]
    before = max((end for _, end in bounds if end <= oldest), default=None)
    after = min((start for start, _ in bounds if start > oldest), default=None)
    if after is not None and newest >= after:
        logger.error("%s has rows from before and after other partitions: it stays as it is", table.default)
        return 0
    start = before or _period(table, oldest)
    latest = newest
    if after is None or after > now:
        # At least one period ahead: rows that come meanwhile fulfil the check, also if we are killed.
        latest = max(newest, now) + table.period
    end = min(filter(None, [_period(table, latest) + table.period, after]))
    limits = {"start": start, "end": end}
    try:
        _briefly(table, lambda: _execute(_CHECK, table, **limits))
        _execute("ALTER TABLE {default} VALIDATE CONSTRAINT tokenhub_adopted", table)
        _briefly(table, lambda: _swap(table, start, end))
    except BaseException:
        _briefly(table, lambda: _uncheck(table, table.default))
        raise
    return 1


_CHECK = (
    "ALTER TABLE {default} ADD CONSTRAINT tokenhub_adopted"
    " CHECK ({column} IS NOT NULL AND {column} >= {start} AND {column} < {end}) NOT VALID"
)


def _swap(table: Partitioned, start: datetime, end: datetime) -> None:
    name = _name(table, start)
    _execute("ALTER TABLE {table} DETACH PARTITION {default}", table)
    _execute("ALTER TABLE {default} RENAME TO {name}", table, name=name)
    _attach(table, name, start, end)
    _uncheck(table, name)
    _execute("CREATE TABLE {default} PARTITION OF {table} DEFAULT", table)
    logger.warning("no partition had been made for rows from %s on: %s has them now", start, name)


def _uncheck(table: Partitioned, name: str) -> None:
    if _value("SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = 'tokenhub_adopted' AND conrelid"
              " = to_regclass({text}))", table, text=name):  # fmt: skip
        _execute("ALTER TABLE {name} DROP CONSTRAINT tokenhub_adopted", table, name=name)


def _attach(table: Partitioned, name: str, start: datetime, end: datetime) -> None:
    statement = "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"
    _execute(statement, table, name=name, start=start, end=end)


def _period(table: Partitioned, moment: datetime) -> datetime:
    """When the period of that moment begins; weeks begin on Mondays, UTC."""
    return moment - (moment - A_MONDAY) % table.period


def _name(table: Partitioned, start: datetime) -> str:
    return f"{table.table}_{start.astimezone(UTC):%Y%m%d_%H%M}"


def _briefly[T](table: Partitioned, change: Callable[[], T]) -> T:
    """Run `change` in a transaction that waits for no lock for long; several times, with pauses for the others.

    Raises OperationalError (of LockNotAvailable) where it never came to it.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                _execute("SET LOCAL lock_timeout = {timeout}", table, timeout=f"{LOCK_TIMEOUT * 1000:.0f}ms")
                lock(f"partitions:{table.table}")  # one maintenance at a time
                return change()
        except OperationalError as error:
            if attempt == ATTEMPTS or not isinstance(error.__cause__, LockNotAvailable):
                raise
        time.sleep(random.uniform(LOCK_TIMEOUT, 3 * LOCK_TIMEOUT))  # noqa: S311 no secret
    raise AssertionError("unreachable")


def _statement(text: str, table: Partitioned, values: dict[str, Any]) -> str:
    """`text` with the table's names and the values in it: PostgreSQL takes no parameters in such statements."""
    names = {"table": table.table, "default": table.default, "column": table.column}
    if "name" in values:
        names["name"] = values.pop("name")
    literals = {key: sql.Literal(value) for key, value in values.items()}
    identifiers = {key: sql.Identifier(name) for key, name in names.items()}
    composed = sql.SQL(text).format(unless=sql.SQL(table.unless), **identifiers, **literals)
    return composed.as_string(None)


def _execute(text: str, table: Partitioned, /, **values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_statement(text, table, values))


def _values(text: str, table: Partitioned, /, **values: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(_statement(text, table, values))
        row = cursor.fetchone()
    assert row is not None  # noqa: S101 such statements have one row
    return tuple(row)


def _value(text: str, table: Partitioned, /, **values: Any) -> Any:
    return _values(text, table, **values)[0]
