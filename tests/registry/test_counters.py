"""Counts of many processes, added up in Valkey."""

import os
import threading
from collections.abc import Iterator

import pytest
import redis

from registry.services import counters
from registry.services.counters import Counter, Histogram
from registry.services.valkey import valkey

DOORS = Counter("test_doors_total", "Doors that opened.", ["colour"])
WAITS = Histogram("test_wait_seconds", "How long they took.", (0.1, 1.0))


@pytest.fixture(autouse=True)
def from_nothing() -> Iterator[None]:
    counters._pending.clear()
    valkey().delete(counters.SUMS)
    yield
    for declared in (DOORS, WAITS):
        counters.declared.pop(declared.name, None)


def test_what_several_threads_count_is_added_up() -> None:
    def open_many() -> None:
        for _ in range(1000):
            DOORS.add("red")

    threads = [threading.Thread(target=open_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counters.flush()
    DOORS.add("red", amount=5)
    counters.flush()
    assert counters.sums() == {("test_doors_total", "", "red"): 8005}


def test_a_histogram_keeps_the_bucket_and_the_sum() -> None:
    for seconds in (0.05, 0.1, 0.5, 30.0):
        WAITS.observe(seconds)
    counters.flush()
    sums = counters.sums()
    assert [sums.get(("test_wait_seconds", part), 0) for part in ("0", "1", "2")] == [2, 1, 1]
    assert sums["test_wait_seconds", "sum"] == 30_650_000


def test_while_valkey_is_away_counts_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    DOORS.add("red")
    with monkeypatch.context() as away:
        nobody = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=1)
        away.setattr(counters, "valkey", lambda: nobody)
        with pytest.raises(redis.ConnectionError):
            counters.flush()
    DOORS.add("red")
    counters.flush()
    assert counters.sums() == {("test_doors_total", "", "red"): 2}


def test_a_forked_process_does_not_send_what_its_parent_counted() -> None:
    DOORS.add("red")
    child = os.fork()
    if child == 0:
        os._exit(0 if not counters._pending else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    counters.flush()
    assert counters.sums() == {("test_doors_total", "", "red"): 1}
