"""What tests of processes share."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenhub.embedded.processes import Store, spawn, stop, wait_ready


def gone(pid: int) -> bool:
    """Whether the process has ended, even where nobody reaps it."""
    if Path("/proc/self").exists():
        try:
            return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_gone(*pids: int) -> bool:
    """Whether all of them have ended within 10 s."""
    deadline = time.monotonic() + 10
    while not all(gone(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return all(gone(pid) for pid in pids)


@contextmanager
def running(store: Store) -> Iterator[subprocess.Popen[bytes]]:
    """The store, prepared, started, ready; ended afterwards."""
    store.prepare(lambda _: None)
    process = spawn(store.argv(), output=subprocess.DEVNULL)
    try:
        wait_ready(process, store.ready, name=store.name)
        yield process
    finally:
        stop(process, store.stop_signal, timeout=20)
