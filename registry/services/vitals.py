"""Which processes live and in which version, and when the hearts beat last: told in Valkey, read by whoever asks.

A process that has called `start` tells its signs of life every few seconds, and sends what it counted along. There are
two hearts: `beat` beats when beat has sent a sweep, `sweep` when a worker has taken one up. Ages are by Valkey's clock.

For the host's own probe there is a file beside it (`TOKENHUB_ALIVE_PATH`), which needs no Valkey: `deploy/run alive`.
"""

import json
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.db import connections

from registry.services import counters, own_connection
from registry.services.valkey import understood, valkey

logger = logging.getLogger(__name__)

PERIOD = 5.0  # seconds
GONE = 30  # seconds without a sign, and a process is not told of any more
PROCESSES, HEARTS = "tokenhub:processes", "tokenhub:hearts"
BEAT, SWEEP = "beat", "sweep"

_TELL = "return redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1] .. ' ' .. ARGV[2])"


@dataclass(frozen=True)
class Process:
    """What a process tells of itself. `role` is web, beat, or worker and the queues that it takes from.

    `pool_size` connections to PostgreSQL are open, of which `pool_idle` are free; `pool_waiting` threads wait for one.
    `own` more are kept by the threads that answer launches.
    """

    role: str
    version: str
    host: str
    pid: int
    pool_size: int = 0
    pool_idle: int = 0
    pool_waiting: int = 0
    own: int = 0


class _Reporter:
    """This process's own: the role that it has, and the thread that tells."""

    role = ""
    stopped = threading.Event()
    thread: threading.Thread | None = None


def start(role: str) -> None:
    """Tell signs of life from now on, in a thread; a process that is forked from this one goes on with its own."""
    if _Reporter.thread is not None and _Reporter.thread.is_alive():
        return
    _Reporter.role = role
    _Reporter.stopped = threading.Event()
    _Reporter.thread = threading.Thread(
        target=_tell_until_stopped, args=[_Reporter.stopped], name="vitals", daemon=True
    )
    _Reporter.thread.start()


def stop() -> None:
    """Send what was counted, and say that this process is gone."""
    _Reporter.stopped.set()
    try:
        counters.flush()
        valkey().hdel(PROCESSES, _name())
    except redis.RedisError as error:
        logger.warning("the last counts are lost: %s", type(error).__name__)


def tell() -> None:
    """Tell once. Raises redis.RedisError."""
    valkey().eval(_TELL, 1, PROCESSES, _name(), json.dumps(asdict(_signs())))
    counters.flush()


def beats(heart: str) -> None:
    """A heart has beaten. Never raises: without Valkey there is nothing to be told."""
    try:
        valkey().eval(_TELL, 1, HEARTS, heart, "")
    except redis.RedisError:
        return


def goes_round() -> None:
    """This process's main loop does. Leaves its mark where a probe looks for it, if one does. Raises OSError."""
    if settings.TOKENHUB_ALIVE_PATH:
        Path(settings.TOKENHUB_ALIVE_PATH).touch()


def hearts() -> dict[str, float]:
    """Seconds since each heart beat last; one that never did is left out. Raises redis.RedisError."""
    return {heart: age for heart, (age, _) in _told(HEARTS).items()}


def processes() -> list[Process]:
    """The processes that live. Raises redis.RedisError."""
    told = _told(PROCESSES)
    gone = [name for name, (age, _) in told.items() if age > 10 * GONE]
    if gone:
        valkey().hdel(PROCESSES, *gone)
    return [understood(Process, json.loads(text)) for _, (age, text) in sorted(told.items()) if age <= GONE]


def workers(living: Iterable[Process]) -> dict[str, int]:
    """How many of these processes take from each Celery queue."""
    taken = Counter(word for process in living for word in process.role.split())
    return {queue.name: taken[queue.name] for queue in settings.CELERY_TASK_QUEUES}


def _told(key: str) -> dict[str, tuple[float, str]]:
    now: Any = valkey().time()
    found: Any = valkey().hgetall(key)
    told = {}
    for name, text in found.items():
        at, _, rest = text.decode().partition(" ")
        told[name.decode()] = (max(0.0, now[0] - float(at)), rest)
    return told


def _tell_until_stopped(stopped: threading.Event) -> None:
    quiet = False
    while not stopped.is_set():
        try:
            tell()
            quiet = False
        except redis.RedisError as error:
            if not quiet:
                logger.warning("counts wait until Valkey answers: %s", type(error).__name__)
            quiet = True
            goes_round()  # or it waits for Valkey, which is no reason to end it
        stopped.wait(PERIOD)


def _signs() -> Process:
    pool: Any = getattr(connections["default"], "pool", None)
    stats = pool.get_stats() if pool is not None else {}
    return Process(
        role=_Reporter.role,
        version=settings.TOKENHUB_VERSION,
        host=socket.gethostname(),
        pid=os.getpid(),
        pool_size=stats.get("pool_size", 0),
        pool_idle=stats.get("pool_available", 0),
        pool_waiting=stats.get("requests_waiting", 0),
        own=own_connection.open_connections(),
    )


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _after_fork() -> None:
    if _Reporter.thread is not None:
        _Reporter.thread = None
        start(_Reporter.role)


os.register_at_fork(after_in_child=_after_fork)
