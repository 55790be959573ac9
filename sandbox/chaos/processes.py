"""The processes of the stack, found among the children of the `up` that we started and nowhere else."""

import contextlib
import signal
import time
from collections.abc import Callable, Sequence

import psutil

ROLES: dict[str, Callable[[Sequence[str]], bool]] = {
    "sandbox": lambda words: "sandbox" in words,
    "postgres": lambda words: words[0].endswith("/postgres") and "-D" in words,
    "valkey": lambda words: "valkey-server" in words[0],
    "web": lambda words: "granian" in words,
    "worker": lambda words: "celery" in words and "worker" in words,
    "beat": lambda words: "celery" in words and "beat" in words,
}


def role(words: Sequence[str]) -> str | None:
    """What a child of `up` is by its command line; None where it is none of the servers."""
    return next((name for name, matches in ROLES.items() if words and matches(words)), None)


class Processes:
    """The children of `up`."""

    def __init__(self, up: int) -> None:
        self._up = psutil.Process(up)

    def find(self, name: str) -> psutil.Process | None:
        """The child of that role; None while there is none, because it is being started again."""
        for child in self._up.children():
            with contextlib.suppress(psutil.Error):
                if role(child.cmdline()) == name and child.status() != psutil.STATUS_ZOMBIE:
                    return child
        return None

    def find_child_of(self, name: str, pick: float, *, settled: float = 0.0) -> psutil.Process | None:
        """One of the children of the child of that role, chosen by `pick` (0 to 1).

        None where the child of that role has not been up for `settled` seconds.
        """
        parent = self.find(name)
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            if parent and time.time() - parent.create_time() >= settled:
                children = sorted(parent.children(), key=lambda child: child.pid)
        return children[int(pick * len(children))] if children else None


def end(process: psutil.Process, number: signal.Signals) -> bool:
    """Send the signal; False where the process is gone already."""
    try:
        # psutil makes sure that the number is not another process's by now.
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True
