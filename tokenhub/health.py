"""Probes for whoever keeps the processes running.

A process that cannot serve is not ready: its database is away or older than its code, or its keys open no secret. What
others have to mend is told and turns nobody away: posts are kept while the broker is down or beat is silent, and
every process taken out for that would turn lateness into loss.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from registry.crypto import opened
from registry.services import vitals
from registry.services.rotation import newest
from tokenhub.version import VERSION

OK = "ok"
KEPT = 1.0  # seconds that an answer is kept: probes cost little, however many ask
SOME = 5  # secrets of each kind that are tried

_lock = threading.Lock()


class _Last:
    """What this process found last, and whether its migrations were all applied once."""

    at = 0.0
    parts: "tuple[Part, ...]" = ()
    migrated = False


@dataclass(frozen=True)
class Part:
    """Something that a process needs, and what is wrong with it. `needed`: not ready without it."""

    name: str
    says: str
    needed: bool


def livez(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": OK, "version": VERSION})


def readyz(request: HttpRequest) -> JsonResponse:
    """Whether the process can serve (503 if not), part by part; `degraded`: it can, and something else is wrong."""
    found = parts()
    wrong = [part for part in found if part.says != OK]
    unready = any(part.needed for part in wrong)
    status = "unavailable" if unready else "degraded" if wrong else OK
    body = {"status": status, "version": VERSION} | {part.name: part.says for part in found}
    return JsonResponse(body, status=503 if unready else 200)


def parts() -> tuple[Part, ...]:
    """What there is to say of each part, at most a second old."""
    with _lock:
        if not _Last.parts or time.monotonic() - _Last.at > KEPT:
            _Last.parts = tuple(_look())
            _Last.at = time.monotonic()
        return _Last.parts


def _look() -> Iterator[Part]:
    database = _of_database(_database)
    yield Part("database", database, needed=True)
    if database == OK:
        yield Part("migrations", _of_database(_migrations), needed=True)
        yield Part("keys", _of_database(_keys), needed=True)
    try:
        hearts, workers = vitals.hearts(), vitals.workers(vitals.processes())
    except redis.RedisError:
        yield Part("broker", "does not answer", needed=False)
        return
    yield Part("broker", OK, needed=False)
    yield Part("beat", _beat(hearts.get(vitals.BEAT)), needed=False)
    deserted = ", ".join(queue for queue, count in workers.items() if not count)
    yield Part("workers", f"nobody takes from {deserted}" if deserted else OK, needed=False)


def _of_database(look: Callable[[], str]) -> str:
    try:
        return look()
    except DatabaseError:
        return "does not answer"


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return OK


def _migrations() -> str:
    """A schema that is ahead is that of a newer version, beside which this one goes on."""
    if not _Last.migrated:
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if missing:
            return f"{missing} are not applied: run manage.py migrate"
        _Last.migrated = True
    return OK


def _keys() -> str:
    """One that cannot be read is its owner's trouble; where none can, the keys are not those of this database."""
    tried = [opened(stored) for stored in newest(SOME)]
    if tried and not any(tried):
        return "TOKENHUB_ENCRYPTION_KEYS open none of the stored secrets"
    return OK


def _beat(age: float | None) -> str:
    if age is None:
        return "has not been heard of"
    return OK if age <= silent_after() else f"is silent for {age:.0f} s"


def silent_after() -> float:
    """Seconds after which a heart that does not beat is told of."""
    seconds: float = settings.TOKENHUB_SWEEP.total_seconds()
    return max(60.0, 6 * seconds)
