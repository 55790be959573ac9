"""What happened, counted: in this process's memory, and every few seconds added to the sums of all processes in Valkey.

Counting is two dictionary look-ups and waits for nobody, so that the hot path can afford it. `/metrics` reads the sums,
and every process answers the same. While Valkey is away the counts wait here; a process that is killed loses its last
seconds; a Valkey that comes back empty begins anew at 0, as Prometheus expects of counters.
"""

import json
import os
import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from registry.services.valkey import valkey

SUMS = "tokenhub:counters"

# A metric's name, its part (a bucket's number, "sum", or "" for a counter), and the values of its labels.
type Key = tuple[str, ...]

FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
RELAYS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
CALLS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WAITS: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)

_lock = threading.Lock()
_pending: dict[Key, int] = {}
declared: "dict[str, Counter | Histogram]" = {}


class Counter:
    """A number that only grows. Declare one as a module's constant; docs/metrics.md describes each."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str] = ()) -> None:
        self.name, self.meaning, self.labels = name, meaning, tuple(labels)
        declared[name] = self

    def add(self, *values: str, amount: int = 1) -> None:
        """Count `amount` more. `values` are the labels', in their order, each of a few that are known beforehand."""
        key = (self.name, "", *values)
        with _lock:
            _pending[key] = _pending.get(key, 0) + amount


class Histogram:
    """How long things take, in seconds: how many took up to each of `buckets`, and their sum."""

    def __init__(self, name: str, meaning: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> None:
        self.name, self.meaning, self.labels, self.buckets = name, meaning, tuple(labels), tuple(buckets)
        self._parts = tuple(str(number) for number in range(len(self.buckets) + 1))
        declared[name] = self

    def observe(self, seconds: float, *values: str) -> None:
        """Count one that took so long. `values` as for a counter."""
        bucket = (self.name, self._parts[bisect_left(self.buckets, seconds)], *values)
        total = (self.name, "sum", *values)
        with _lock:
            _pending[bucket] = _pending.get(bucket, 0) + 1
            _pending[total] = _pending.get(total, 0) + int(seconds * 1_000_000)


def flush() -> None:
    """Add what this process counted to the sums. Raises redis.RedisError; nothing is lost by that."""
    global _pending
    with _lock:
        counted, _pending = _pending, {}
    if not counted:
        return
    sums = valkey().pipeline()
    for key, amount in counted.items():
        sums.hincrby(SUMS, json.dumps(key), amount)
    try:
        sums.execute()
    except BaseException:
        with _lock:
            for key, amount in counted.items():
                _pending[key] = _pending.get(key, 0) + amount
        raise


def sums() -> dict[Key, int]:
    """The sums of all processes. Raises redis.RedisError."""
    found = valkey().hgetall(SUMS)
    return {tuple(json.loads(key)): int(amount) for key, amount in found.items()}


def _after_fork() -> None:
    """What was counted before the fork is the parent's to send."""
    global _lock, _pending
    _lock, _pending = threading.Lock(), {}


os.register_at_fork(after_in_child=_after_fork)
