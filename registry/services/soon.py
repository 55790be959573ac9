"""What need not be done at once, and by nobody who waits: a thread of the process does it, once for all who asked."""

import os
import threading
import time
from collections.abc import Callable


class Soon:
    """Has a thread call `function` so many seconds after somebody asked: once for all who asked until then.

    Who asks while it runs has it run again. The first who asks makes the thread, which sleeps while nobody does; a
    process that is forked off makes its own. What was asked for in a process that ends is not done: only for what is
    made good elsewhere.
    """

    def __init__(self, function: Callable[[], None], *, seconds: float, name: str) -> None:
        self._function, self._seconds, self._name = function, seconds, name
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock, self._asked = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Have it called soon."""
        if self._asked.is_set() and self._lives():
            return
        with self._lock:
            if not self._lives():
                self._thread = threading.Thread(target=self._call, name=self._name, daemon=True)
                self._thread.start()
        self._asked.set()

    def _lives(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _call(self) -> None:
        while self._asked.wait():
            time.sleep(self._seconds)
            self._asked.clear()  # before it runs: it may have looked already when the next one asks
            self._function()
