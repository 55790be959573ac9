"""Keeps child processes running, and ends them in order.

Children are started by the main thread alone (see `processes`), which also looks after them, a few times a second.
"""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tokenhub.embedded.output import Output
from tokenhub.embedded.processes import exit_words, kill_group, spawn
from tokenhub.embedded.state import StackError

_TICK = 0.05


class StopRequested(Exception):
    """Somebody wants everything to end (Ctrl-C, SIGTERM) while something was being waited for."""


@dataclass(frozen=True)
class Program:
    """What to run (`argv` should be `guarded`), and how to end it.

    It is killed when it has not ended `patience` seconds after the signal, or `hurried` once somebody is in haste.
    """

    name: str
    argv: list[str]
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = 10
    hurried: float = 0


@dataclass(frozen=True)
class Policy:
    """A child that ends is started again after `first_delay` seconds, doubled each time up to `longest_delay`.

    One that ends `limit` times within `window` seconds is given up, and everything with it.
    """

    first_delay: float = 1
    longest_delay: float = 10
    limit: int = 5
    window: float = 60

    def delay(self, crashes: int) -> float:
        """How long to wait before the next start after so many crashes in the window."""
        return float(min(self.longest_delay, self.first_delay * 2 ** (crashes - 1)))


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    reader: threading.Thread
    crashes: list[float] = field(default_factory=list)
    due: float | None = None  # when to start it again


class Supervisor:
    """See the module. Use `catching_signals` around everything, and `stop_all` at the end, whatever happened."""

    def __init__(self, output: Output, policy: Policy | None = None) -> None:
        self._output = output
        self._policy = policy or Policy()
        self._children: dict[str, _Child] = {}
        self._requests = 0

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Take Ctrl-C, SIGTERM and a closed terminal as the wish to stop; a second one as the wish to hurry."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, program: Program) -> None:
        """Start a program and keep it running from now on."""
        self._children[program.name] = self._spawn(program)

    def pid(self, name: str) -> int:
        """The number of the process of that name, which changes when it is started again."""
        return self._children[name].process.pid

    def run(self, program: Program) -> None:
        """Run a program to its end. Raises StackError if it fails, StopRequested if that comes first."""
        child = self._spawn(program)
        try:
            while child.process.poll() is None:
                self.tick()
        finally:
            self._end(child)
        if code := child.process.returncode:
            raise StackError(f"{program.name} failed ({exit_words(code)}).")

    def wait(self, ready: Callable[[], bool], *, name: str, timeout: float) -> None:
        """Wait until `ready` says so, looking after the children meanwhile.

        Raises StackError when time is up or a child is given up, StopRequested if that comes first.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            self.tick()
            if time.monotonic() > deadline:
                raise StackError(f"{name} was not ready after {timeout:.0f} s.")

    def tick(self) -> None:
        """Look after every child once, and rest a moment.

        Raises StackError when a child is given up, StopRequested when a stop is wanted.
        """
        time.sleep(_TICK)
        if self._requests:
            raise StopRequested
        now = time.monotonic()
        for child in list(self._children.values()):
            if child.due is None:
                if child.process.poll() is not None:
                    self._crashed(child, now)
            elif child.due <= now:
                again = self._spawn(child.program)
                again.crashes = child.crashes
                self._children[child.program.name] = again

    def stop_all(self) -> None:
        """End the children, the last started first, each within its time; nothing of them remains."""
        for child in reversed(self._children.values()):
            self._end(child)
        self._children.clear()

    def _spawn(self, program: Program) -> _Child:
        process = spawn(program.argv, output=subprocess.PIPE, env=program.env, cwd=program.cwd)
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        return _Child(program, process, self._output.copy(program.name, process.stdout))

    def _crashed(self, child: _Child, now: float) -> None:
        # What it started itself must not live beside what its successor starts.
        kill_group(child.process)
        name, words = child.program.name, exit_words(child.process.returncode)
        child.crashes = [*(crash for crash in child.crashes if now - crash < self._policy.window), now]
        if len(child.crashes) >= self._policy.limit:
            raise StackError(
                f"{name} ended {len(child.crashes)} times within {self._policy.window:.0f} s (the last time: {words}). "
                f"Its own words are above, in the lines that begin with `{name}`."
            )
        delay = self._policy.delay(len(child.crashes))
        child.due = now + delay
        self._output.line("up", f"{name} ended ({words}); starting it again in {delay:.3g} s")

    def _end(self, child: _Child) -> None:
        if child.due is not None:
            return  # it ended some time ago, and its number may be another's by now
        process, program = child.process, child.program
        if process.poll() is None:
            process.send_signal(program.stop_signal)
            started = time.monotonic()
            while process.poll() is None:
                # Read anew each time: a second Ctrl-C may come while we wait.
                patience = program.hurried if self._requests > 1 else program.patience
                if time.monotonic() - started > patience:
                    self._output.line("up", f"{program.name} does not end: killing it")
                    break
                time.sleep(_TICK)
        kill_group(process)
        process.wait()
        # Its last lines; a stranger that inherited the pipe must not hold us up.
        child.reader.join(timeout=1)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._requests += 1
