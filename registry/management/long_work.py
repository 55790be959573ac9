"""What long commands share: they show how far they are, and stop in order when somebody asks."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

SAID_EVERY = 5.0  # seconds, where there is no terminal

type Show = Callable[[int, str], None]  # how much is done, and in words


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Gives a list that is no longer empty once somebody pressed Ctrl-C or a supervisor asked us to end."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: asked.append(got)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress(total: int) -> Iterator[Show]:
    """Gives what shows how far it is: a bar on a terminal, else a line now and then, on stderr."""
    if sys.stderr.isatty():
        columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=total)
            yield lambda done, words: bar.update(task, completed=done, description=words)
        return
    said = time.monotonic()

    def show(done: int, words: str) -> None:
        nonlocal said
        if time.monotonic() - said >= SAID_EVERY:
            said = time.monotonic()
            print(f"{100 * done // max(total, 1)} %: {words}", file=sys.stderr, flush=True)  # noqa: T201

    yield show
