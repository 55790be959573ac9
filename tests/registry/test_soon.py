"""What a thread of the process does for all who asked."""

import subprocess
import sys
import threading
import time

import pytest

from registry.services.soon import Soon

PATIENCE = 10.0  # seconds, for a slow machine


def test_many_who_ask_have_it_done_once_and_who_asks_later_again() -> None:
    done: list[float] = []
    soon = Soon(lambda: done.append(time.monotonic()), seconds=0.2, name="test")
    asked = time.monotonic()
    for _ in range(100):
        soon.ask()
    time.sleep(0.6)
    assert len(done) == 1
    assert done[0] - asked >= 0.2
    soon.ask()
    time.sleep(0.6)
    assert len(done) == 2


def test_who_asks_while_it_is_done_has_it_done_again() -> None:
    runs, goes_on = threading.Semaphore(0), threading.Event()

    def work() -> None:
        runs.release()
        goes_on.wait(PATIENCE)

    soon = Soon(work, seconds=0, name="test")
    soon.ask()
    assert runs.acquire(timeout=PATIENCE)
    soon.ask()
    goes_on.set()
    assert runs.acquire(timeout=PATIENCE)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced() -> None:
    done = threading.Semaphore(0)
    answers = iter([SystemExit, None])

    def work() -> None:
        done.release()
        if error := next(answers):
            raise error  # of this thread alone

    soon = Soon(work, seconds=0, name="test")
    soon.ask()
    assert done.acquire(timeout=PATIENCE)
    assert soon._thread is not None
    soon._thread.join(PATIENCE)
    soon.ask()
    assert done.acquire(timeout=PATIENCE)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_so_is_one_that_died_with_a_question_waiting() -> None:
    done, dies = threading.Semaphore(0), threading.Event()

    def work() -> None:
        done.release()
        if not dies.is_set():
            dies.wait(PATIENCE)
            raise SystemExit

    soon = Soon(work, seconds=0, name="test")
    soon.ask()
    assert done.acquire(timeout=PATIENCE)
    soon.ask()
    dies.set()
    assert soon._thread is not None
    soon._thread.join(PATIENCE)
    soon.ask()
    assert done.acquire(timeout=PATIENCE)


# The parent's thread sleeps with a question when the child comes to be, which has to ask for itself.
FORKED = """
import os, threading
from registry.services.soon import Soon
done = threading.Event()
soon = Soon(done.set, seconds=0.5, name="test")
soon.ask()
child = os.fork()
if not child:
    soon.ask()
    os._exit(0 if done.wait(10) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_process_that_is_forked_off_has_a_thread_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], timeout=60, check=False)
    assert done.returncode == 0
