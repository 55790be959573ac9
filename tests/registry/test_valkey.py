"""The connection to Valkey of each process."""

import multiprocessing
import os
import threading
import warnings

from registry.services.valkey import Script, valkey


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


def test_a_child_asks_by_a_connection_of_its_own() -> None:
    script = Script("return ARGV[1]")
    assert script([], [1]) == b"1"
    own = os.getpid()

    def ask() -> None:
        assert script([], [2]) == b"2"
        assert script._own.connection.pid == os.getpid() != own

    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        child = multiprocessing.get_context("fork").Process(target=ask)
        child.start()
    child.join(10)
    assert child.exitcode == 0
    assert script([], [3]) == b"3"
