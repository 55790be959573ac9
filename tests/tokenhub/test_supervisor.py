"""Children: started again when they end, given up in the end, ended in order, and never left behind."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.tokenhub.servers import gone, wait_gone
from tokenhub.embedded.output import Output
from tokenhub.embedded.processes import guarded, spawn
from tokenhub.embedded.state import REPOSITORY, StackError
from tokenhub.embedded.supervisor import Policy, Program, StopRequested, Supervisor

# Says its name when it starts and when it is asked to end; `deaf` ones do not end.
CHILD = """
import os, signal, sys, time
def bye(*_):
    print("bye", flush=True)
    if "deaf" not in sys.argv:
        sys.exit()
signal.signal(signal.SIGTERM, bye)
if "parent" in sys.argv:
    os.fork()
print("hello", os.getpid(), flush=True)
while True:
    time.sleep(60)
"""

QUICK = Policy(first_delay=0.05, longest_delay=0.1, limit=3, window=60)


def program(name: str, *words: str, code: str = CHILD, **how: float) -> Program:
    return Program(name, guarded([sys.executable, "-ISc", code, *words]), **how)  # type: ignore[arg-type]


class Stage:
    """A supervisor and what it printed."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.supervisor = Supervisor(Output(self.stream), QUICK)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[-1]) for line in self.lines if line.startswith(name) and "hello" in line]

    def until(self, condition: Callable[[], bool]) -> None:
        self.supervisor.wait(condition, name="the test", timeout=10)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.supervisor.stop_all()


def test_lines_carry_the_name_of_their_child(stage: Stage) -> None:
    stage.supervisor.run(program("web", code="print('one\\ntwo')"))
    assert stage.lines == ["web      | one", "web      | two"]


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_colours_are_for_terminals(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    Output(stream).line("web", "hello")
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_a_reader_that_went_away_does_no_harm() -> None:
    stream = io.StringIO()
    output = Output(stream)
    stream.close()
    output.line("web", "hello")


def test_a_child_that_ends_is_started_again(stage: Stage) -> None:
    stage.supervisor.start(program("web"))
    stage.until(lambda: len(stage.pids("web")) == 1)
    os.kill(stage.supervisor.pid("web"), signal.SIGKILL)
    stage.until(lambda: len(stage.pids("web")) == 2)
    assert "up       | web ended (killed by SIGKILL); starting it again in 0.05 s" in stage.lines
    assert stage.supervisor.pid("web") == stage.pids("web")[1] != stage.pids("web")[0]


def test_what_a_child_started_ends_with_it(stage: Stage) -> None:
    stage.supervisor.start(program("worker", "parent"))
    stage.until(lambda: len(stage.pids("worker")) == 2)
    first = stage.pids("worker")
    os.kill(stage.supervisor.pid("worker"), signal.SIGKILL)
    stage.until(lambda: len(stage.pids("worker")) == 4)
    assert wait_gone(*first)


def test_a_child_that_ends_again_and_again_is_given_up(stage: Stage) -> None:
    stage.supervisor.start(program("web", code="print('cannot'); raise SystemExit(3)"))
    with pytest.raises(StackError, match=r"web ended 3 times within 60 s \(the last time: exit status 3\)"):
        stage.until(lambda: False)
    stage.supervisor.stop_all()
    assert stage.lines.count("web      | cannot") == 3


@pytest.mark.parametrize(("crashes", "delay"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (9, 10)])
def test_it_waits_longer_each_time(crashes: int, delay: float) -> None:
    assert Policy().delay(crashes) == delay


def test_a_program_that_fails_is_an_error(stage: Stage) -> None:
    with pytest.raises(StackError, match=r"migrate failed \(exit status 2\)"):
        stage.supervisor.run(program("migrate", code="raise SystemExit(2)"))


def test_waiting_has_an_end(stage: Stage) -> None:
    with pytest.raises(StackError, match="web was not ready after 0 s"):
        stage.supervisor.wait(lambda: False, name="web", timeout=0.1)


def test_children_end_in_the_opposite_order_of_their_start(stage: Stage) -> None:
    names = ["postgres", "web", "worker", "beat"]
    for name in names:
        stage.supervisor.start(program(name))
    stage.until(lambda: all(stage.pids(name) for name in names))
    pids = [stage.supervisor.pid(name) for name in names]
    stage.supervisor.stop_all()
    assert [line.split()[0] for line in stage.lines if line.endswith("bye")] == ["beat", "worker", "web", "postgres"]
    assert all(gone(pid) for pid in pids)


def test_a_child_that_does_not_end_is_killed(stage: Stage) -> None:
    stage.supervisor.start(program("worker", "deaf", "parent", patience=0.3))
    stage.until(lambda: len(stage.pids("worker")) == 2)
    pids = stage.pids("worker")
    stage.supervisor.stop_all()
    assert stage.lines[-1] == "up       | worker does not end: killing it"
    assert wait_gone(*pids)


def test_a_signal_stops_and_a_second_one_hurries(stage: Stage) -> None:
    with stage.supervisor.catching_signals():
        stage.supervisor.start(program("worker", "deaf", patience=60))
        stage.until(lambda: bool(stage.pids("worker")))
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopRequested):
            stage.supervisor.tick()
        os.kill(os.getpid(), signal.SIGINT)
        began = time.monotonic()
        stage.supervisor.stop_all()
    assert time.monotonic() - began < 5
    assert gone(stage.pids("worker")[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_children_do_not_outlive_a_parent_that_was_killed() -> None:
    code = f"""
import sys, time
from tokenhub.embedded.output import Output
from tokenhub.embedded.processes import guarded
from tokenhub.embedded.supervisor import Program, Supervisor
supervisor = Supervisor(Output(sys.stdout))
for name in ("web", "worker"):
    supervisor.start(Program(name, guarded([sys.executable, "-ISc", {CHILD!r}])))
supervisor.wait(lambda: False, name="", timeout=60)
"""
    parent = spawn([sys.executable, "-c", code], output=subprocess.PIPE, cwd=REPOSITORY)
    assert parent.stdout is not None
    with parent.stdout as stream:
        pids = [int(stream.readline().split()[-1]) for _ in range(2)]
        parent.kill()
        parent.wait()
    assert wait_gone(*pids)
