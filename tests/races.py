"""Several connections at once: all at the same moment, or one that has written and not committed yet."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, transaction


def in_parallel(count: int, work: Callable[[int], object]) -> list[BaseException]:
    """Run `work` in threads that start at once; return what they raised."""
    start = threading.Barrier(count)
    raised: list[BaseException] = []

    def one(number: int) -> None:
        try:
            start.wait()
            work(number)
        except Exception as error:  # noqa: BLE001 that is what is looked for
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@contextmanager
def uncommitted(change: Callable[[], object]) -> Iterator[None]:
    """Run the block while another connection has made `change` and not committed it.

    It commits when somebody waits for its locks, so that the block cannot hang, and else when the block has ended.
    """
    written, over = threading.Event(), threading.Event()

    def work() -> None:
        try:
            with transaction.atomic():
                change()
                written.set()
                while not over.wait(0.01) and not _is_waited_for():
                    pass
        finally:
            written.set()
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert written.wait(10)
        yield
    finally:
        over.set()
        thread.join()


def _is_waited_for() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        row = cursor.fetchone()
    return row is not None and row[0] > 0
