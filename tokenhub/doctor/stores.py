"""PostgreSQL and Valkey: whether they answer, how fast, in which version, and what their settings would do to us."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from registry.services import vitals
from registry.services.valkey import valkey
from tokenhub.doctor import Finding, Level
from tokenhub.logs import blot

OLDEST_POSTGRES, OLDEST_VALKEY = 150000, 7
SLOW = 20.0  # milliseconds
PATIENCE = 5  # seconds to connect
SKEW, GROSS_SKEW = 2.0, 30.0  # seconds


def database() -> Iterator[Finding]:
    """Whether PostgreSQL answers as it should."""
    try:
        # Not by way of the pool: that would wait, and not say why.
        psycopg.connect(**{**connection.get_connection_params(), "connect_timeout": PATIENCE}).close()
        yield from _database()
    except (psycopg.Error, DatabaseError) as error:
        # Its first line says where and why; no part of it is a password.
        why = _first_line(error)
        if "FATAL" in why:  # it has answered, and says why not; on connecting psycopg tells no code
            mend = "See DATABASE_URL: user, password, name; and what PostgreSQL's own log says."
            yield Finding("database", Level.ERROR, f"refuses us: {why}", mend)
        else:
            yield Finding("database", Level.ERROR, f"does not answer: {why}", "Is it running? See DATABASE_URL.")


def _first_line(error: Exception) -> str:
    return blot(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__


def _database() -> Iterator[Finding]:
    took = _milliseconds(lambda: _row("SELECT 1"))
    number, name = _row("SELECT current_setting('server_version_num')::int, current_setting('server_version')")
    used, most = _row(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
        " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    )
    verbosity, standby = _row("SELECT current_setting('log_error_verbosity'), pg_is_in_recovery()")
    said = f"PostgreSQL {name.split()[0]}, {took:.1f} ms, {used} of {most} connections are used"
    if standby:
        yield Finding("database", Level.ERROR, "is a standby: nothing can be written", "Name the primary.")
    if number < OLDEST_POSTGRES:
        yield Finding("database", Level.ERROR, said, "Versions from 15 on are supported.")
    if took > SLOW:
        yield Finding("database", Level.WARNING, f"answers in {took:.0f} ms", "Bring web and workers near to it.")
    yield from _connections(used, most)
    if verbosity != "terse":
        yield Finding(
            "database",
            Level.WARNING,
            "the details of its errors quote rows, so tokens and addresses can stand in its log",
            "ALTER SYSTEM SET log_error_verbosity = 'terse'; SELECT pg_reload_conf();",
        )
    yield Finding("database", Level.OK, said)


def _connections(used: int, most: int) -> Iterator[Finding]:
    """A pool for each process may ask for more connections than there are."""
    try:
        living = vitals.processes()
    except redis.RedisError:
        living = []
    pool: Any = connection.settings_dict["OPTIONS"].get("pool") or {}
    may_want = len(living) * pool.get("max_size", 1) + sum(process.own for process in living)
    mend = "Raise max_connections, lower TOKENHUB_DB_POOL_MAX, or put PgBouncer between."
    if used > 0.9 * most:
        yield Finding("database", Level.ERROR, f"{used} of {most} connections are used", mend)
    elif may_want > most:
        says = f"{len(living)} processes may want {may_want} connections, and there are {most}"
        yield Finding("database", Level.WARNING, says, mend)


def migrations() -> Iterator[Finding]:
    """Whether the schema is the code's."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    ahead = set(executor.loader.applied_migrations) - set(executor.loader.disk_migrations)
    if missing:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in missing[:3])
        says = f"{len(missing)} are not applied: {names}{' …' if len(missing) > 3 else ''}"
        yield Finding("migrations", Level.ERROR, says, "Run manage.py migrate; the old version goes on meanwhile.")
    elif ahead:
        says = f"the schema is that of a newer version ({', '.join(sorted(name for _, name in ahead)[:3])})"
        yield Finding("migrations", Level.WARNING, says, "Fine during an upgrade; else start the newer version.")
    else:
        yield Finding("migrations", Level.OK, "all are applied")


def broker() -> Iterator[Finding]:
    """Whether Valkey or Redis answers as it should."""
    try:
        yield from _broker()
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        yield Finding(
            "broker", Level.ERROR, f"refuses us: {_first_line(error)}", "See REDIS_URL: is its password Valkey's?"
        )
    except redis.RedisError as error:
        yield Finding(
            "broker",
            Level.ERROR,
            f"{_address()} does not answer: {_first_line(error)}",
            "Is it running? See REDIS_URL. Posts are kept meanwhile; what they lead to is late.",
        )


def _address() -> str:
    return urlsplit(settings.REDIS_URL).netloc.rpartition("@")[2]


def _broker() -> Iterator[Finding]:
    took = _milliseconds(lambda: valkey().ping())
    info: Any = valkey().info()
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version", info["redis_version"]))
    policy = info.get("maxmemory_policy", "noeviction")
    said = f"{name} {version}, {took:.1f} ms"
    if int(version.split(".", maxsplit=1)[0]) < OLDEST_VALKEY:
        yield Finding("broker", Level.ERROR, said, "Versions from 7 on are supported.")
    if took > SLOW:
        yield Finding(
            "broker", Level.WARNING, f"answers in {took:.0f} ms", "Each launch asks it: bring it near to web."
        )
    if policy != "noeviction":
        says = f"throws keys away when its memory is full ({policy}): nudges and counts would be lost"
        yield Finding(
            "broker", Level.WARNING, says, "Set maxmemory-policy to noeviction, or give it a server of its own."
        )
    if (most := info.get("maxmemory", 0)) and info["used_memory"] > 0.9 * most:
        yield Finding("broker", Level.ERROR, "its memory is nearly full", "Raise maxmemory.")
    yield Finding("broker", Level.OK, said)


def clocks() -> Iterator[Finding]:
    """Whether the clocks of this host, PostgreSQL and Valkey agree: times are read by one and compared by another."""
    (ours,) = _row("SELECT extract(epoch FROM clock_timestamp())::float8")
    yield skew("PostgreSQL's", ours)
    try:
        theirs: Any = valkey().time()
        yield skew("Valkey's", theirs[0] + theirs[1] / 1_000_000)
    except redis.RedisError:
        return


def skew(whose: str, theirs: float, coarse: float = 0.0) -> Finding:
    """How far a clock (seconds since 1970) is from this host's; `coarse`: the seconds that it is told to."""
    apart = theirs - time.time()
    level = Level.ERROR if abs(apart) > GROSS_SKEW else Level.WARNING if abs(apart) > SKEW + coarse else Level.OK
    if level is Level.OK:
        return Finding("clock", level, f"this host's and {whose} agree")
    says = f"this host's clock is {abs(apart):.0f} s {'behind' if apart > 0 else 'ahead of'} {whose}"
    return Finding("clock", level, says, "Have NTP set the clocks of all hosts (timedatectl set-ntp true).")


def _row(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def _milliseconds(ask: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        ask()
        return (time.perf_counter() - began) * 1000

    ask()  # connects
    return statistics.median(once() for _ in range(5))
