"""Which process is which, and nobody else's."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sandbox.chaos.processes import Processes, end, role

PYTHON = ["/venv/bin/python", "-m"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([*PYTHON, "sandbox", "--data", "var/sandbox"], "sandbox"),
        (["/wheel/bin/postgres", "-D", "var/postgres", "-p", "20001"], "postgres"),
        (["/wheel/valkey-server 127.0.0.1:20002"], "valkey"),
        ([*PYTHON, "granian", "--interface", "wsgi", "tokenhub.wsgi:application"], "web"),
        ([*PYTHON, "celery", "--quiet", "-A", "tokenhub", "worker", "--pool", "prefork"], "worker"),
        ([*PYTHON, "celery", "--quiet", "-A", "tokenhub", "beat"], "beat"),
        (["/venv/bin/python", "manage.py", "seed_sandbox", "--sandbox", "sandbox.json"], None),
        ([], None),
    ],
)
def test_a_child_is_known_by_its_command_line(words: list[str], expected: str | None) -> None:
    assert role(words) == expected


# A parent with one child that looks like a worker, which has two children of its own.
FAMILY = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
if "celery" in sys.argv:
    children = [subprocess.Popen(sleep) for _ in range(2)]
else:
    children = [subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1], "celery", "worker"])]
print("ready", flush=True)
for child in children:
    child.wait()
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", FAMILY, FAMILY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline(), parent.stdout.readline()] == ["ready\n", "ready\n"]
        yield parent
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)


def test_only_children_of_the_stack_are_found(family: subprocess.Popen[str]) -> None:
    processes = Processes(family.pid)
    worker = processes.find("worker")
    assert worker is not None
    assert worker.ppid() == family.pid
    assert processes.find("web") is None
    assert processes.find_child_of("web", 0.5) is None
    assert processes.find_child_of("worker", 0.5, settled=3600.0) is None
    picked = {child.pid for pick in (0.0, 0.49, 0.5, 0.999) if (child := processes.find_child_of("worker", pick))}
    assert picked == {child.pid for child in worker.children()}
    assert len(picked) == 2


def test_what_is_gone_cannot_be_ended_twice(family: subprocess.Popen[str]) -> None:
    child = Processes(family.pid).find_child_of("worker", 0.0)
    assert child is not None
    assert end(child, signal.SIGTERM)
    os.killpg(family.pid, signal.SIGKILL)
    child.wait(10)
    assert not end(child, signal.SIGTERM)
