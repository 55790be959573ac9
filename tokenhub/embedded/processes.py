"""Starting, guarding and stopping child processes.

A guarded child gets a signal from the kernel when the thread that started it ends, so that nothing outlives an `up`
that was killed outright. Hence: start children from the main thread only. The kernel does this on Linux alone;
elsewhere the next `up` stops the servers it finds left over.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from tokenhub.embedded.state import StackError


class Store(Protocol):
    """A server that keeps data: how to prepare its folder, run it in the foreground, and know that it is ready."""

    name: str
    stop_signal: signal.Signals

    def prepare(self, say: Callable[[str], None]) -> None:
        """Make the folder ready for `argv`; `say` is told what a person should know. Raises StackError."""

    def argv(self) -> list[str]:
        """The command that runs the server, `guarded`. It contains no secret."""

    def ready(self) -> bool:
        """Whether the server takes connections with the right password."""

    @property
    def url(self) -> str:
        """Where clients find it, password included."""


def guarded(argv: Sequence[str], death_signal: signal.Signals = signal.SIGTERM) -> list[str]:
    """`argv`, changed so that the process gets `death_signal` when its parent dies (where the system can do that)."""
    setpriv = _guarding_setpriv()
    if setpriv is None:
        return list(argv)
    return [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--", *argv]


def spawn(
    argv: Sequence[str], *, output: int | IO[bytes], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that a Ctrl-C at the terminal reaches only us."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=None if env is None else dict(env),
        cwd=cwd,
        start_new_session=True,
    )


def wait_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], *, name: str, timeout: float = 60) -> None:
    """Wait until `ready` says so. Raises StackError when the process ends first, or time is up."""
    deadline = time.monotonic() + timeout
    while not ready():
        if process.poll() is not None:
            raise StackError(f"{name} ended while starting ({exit_words(process.returncode)}).")
        if time.monotonic() > deadline:
            raise StackError(f"{name} was not ready after {timeout:.0f} s.")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals, timeout: float) -> bool:
    """Ask the process to end, kill it if it has not after `timeout` seconds, and clear its group. True if it obeyed."""
    obeyed = True
    if process.poll() is None:
        process.send_signal(stop_signal)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            obeyed = False
    kill_group(process)
    process.wait()
    return obeyed


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the process and its children, the process itself included."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def exit_words(code: int) -> str:
    """An exit status for people."""
    if code >= 0:
        return f"exit status {code}"
    return f"killed by {signal.Signals(-code).name}"


@functools.cache
def _guarding_setpriv() -> str | None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return None
    # BusyBox has a setpriv too, which cannot do this.
    tried = subprocess.run([setpriv, "--pdeathsig", "TERM", "--", "true"], capture_output=True, check=False)
    return setpriv if tried.returncode == 0 else None
