"""The connection to Valkey of each process."""

import multiprocessing
import threading
import warnings

from registry.services.valkey import valkey


def test_a_child_that_was_forked_while_a_thread_asked_can_ask_itself() -> None:
    lock, held, over = valkey().connection_pool._lock, threading.Event(), threading.Event()

    def ask() -> None:
        with lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=ask)
    thread.start()
    held.wait()
    child = multiprocessing.get_context("fork").Process(target=lambda: valkey().ping())
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # it is a fork beside a thread
            child.start()
        child.join(10)
        assert child.exitcode == 0
    finally:
        child.kill()
        over.set()
        thread.join()
