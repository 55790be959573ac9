"""One terminal for many processes: whole lines, each with the name of who said it."""

import os
import threading
from typing import IO, TextIO

_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95)
_WIDTH = len("postgres")


class Output:
    """Prints `name     | line`, coloured on a terminal unless NO_COLOR is set. Safe to use from several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._colours: dict[str, int] = {}
        self._lock = threading.Lock()

    def line(self, name: str, text: str) -> None:
        """Print one line."""
        with self._lock:
            try:
                print(f"{self._prefix(name)} {text}", file=self._stream, flush=True)
            except (OSError, ValueError):
                # Whoever read our output is gone. The stack works on, and its output must still be drained.
                return

    def copy(self, name: str, source: IO[bytes]) -> threading.Thread:
        """Print the lines of `source` in a thread, which ends when `source` does."""
        thread = threading.Thread(target=self._copy, args=(name, source), name=f"output of {name}", daemon=True)
        thread.start()
        return thread

    def _copy(self, name: str, source: IO[bytes]) -> None:
        with source:
            for line in source:
                self.line(name, line.decode(errors="replace").rstrip())

    def _prefix(self, name: str) -> str:
        padded = f"{name:<{_WIDTH}} |"
        if not self._coloured:
            return padded
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        return f"\x1b[{colour}m{padded}\x1b[0m"
