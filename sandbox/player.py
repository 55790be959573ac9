"""Plays a fault script: puts its rules in force and takes them away, changes settings and changes them back."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from sandbox.faults import Faults
from sandbox.script import Step
from sandbox.settings import Settings


class Stage(Protocol):
    """What of the sandbox's memory a script works on."""

    settings: Settings
    faults: Faults
    token_generation: int


class Player:
    """At most one script at a time. Times are those of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._began = 0.0
        self._waiting: list[Step] = []
        # Steps in force, with the name of the rule that each has put in.
        self._in_force: list[tuple[Step, str | None]] = []
        self._before: dict[str, Any] = {}
        self._played: Counter[str] = Counter()

    def start(self, memory: Stage, steps: Sequence[Step], now: float) -> None:
        """Play these steps from now on; a script that was being played ends. ValueError where a setting is bad."""
        for step in steps:
            memory.settings.changed(step.settings)
        self.stop(memory)
        touched = {name for step in steps for name in step.settings}
        self._before = {name: value for name, value in memory.settings.as_json().items() if name in touched}
        self._began, self._played = now, Counter()
        self._waiting = sorted(steps, key=lambda step: step.at)

    def play(self, memory: Stage, now: float) -> None:
        """Do what is due."""
        at = now - self._began
        over = [entry for entry in self._in_force if _ends(entry[0]) <= at]
        due = [step for step in self._waiting if step.at <= at]
        if not over and not due:
            return
        for entry in over:
            self._end(memory, *entry)
        for step in due:
            self._waiting.remove(step)
            self._begin(memory, step)
        self._change_settings(memory)

    def stop(self, memory: Stage) -> None:
        """Nothing of the script stays in force."""
        for entry in list(self._in_force):
            self._end(memory, *entry)
        self._waiting = []
        self._change_settings(memory)

    def as_json(self) -> dict[str, Any]:
        """How far it is."""
        return {"played": dict(self._played), "in_force": len(self._in_force), "waiting": len(self._waiting)}

    def _begin(self, memory: Stage, step: Step) -> None:
        self._played[step.fault] += 1
        name = None
        if step.kind is not None:
            name = memory.faults.add(step.kind, step.action, times=step.times, token=step.token).name
        if step.revoke:
            memory.token_generation += 1
        self._in_force.append((step, name))

    def _end(self, memory: Stage, step: Step, name: str | None) -> None:
        self._in_force.remove((step, name))
        if name is not None:
            memory.faults.remove(name)

    def _change_settings(self, memory: Stage) -> None:
        """The last step in force that names a setting decides; where there is none, what it was before the script."""
        settings = dict(self._before)
        for step, _ in self._in_force:
            settings |= step.settings
        memory.settings = memory.settings.changed(settings)


def _ends(step: Step) -> float:
    return step.at + step.lasts if step.lasts is not None else float("inf")
