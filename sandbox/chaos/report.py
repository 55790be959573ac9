"""What a chaos run shows: progress while it runs, the table at the end. Its reader may have been woken for it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sandbox.chaos.operations import Plan
from sandbox.chaos.schedule import Kind
from sandbox.demo.compare import Comparison, percentile
from sandbox.demo.report import differences

LINE_EVERY = 5.0
EXAMPLES = 3


class Progress:
    """Lines with the seconds since the start in front."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._next_line = 0.0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """A line."""
        self._console.print(f"{self.seconds:6.1f} s  {text}", highlight=False, soft_wrap=True, markup=False)

    def update(self, done: int, plan: Plan, comparison: Comparison) -> None:
        """How far it is, every few seconds."""
        now = time.monotonic()
        if now >= self._next_line:
            self._next_line = now + LINE_EVERY
            self.say(progress(done, plan.operations, comparison))


def progress(done: int, operations: int, comparison: Comparison) -> str:
    """How far it is. Once the phones are done: what is still missing, with examples."""
    held = comparison.expected - len(comparison.missing)
    relayed = comparison.events_expected - len(comparison.events_missing)
    text = (
        f"operations {done}/{operations}; CI-J holds {held} of {comparison.expected} that it must, and "
        f"{len(comparison.ghosts)} that it must not; events {relayed}/{comparison.events_expected}"
    )
    if done < operations:
        return text
    waiting = [line for line in differences(comparison, [], []) if "were not compared" not in line]
    more = f" … and {len(waiting) - EXAMPLES} more" if len(waiting) > EXAMPLES else ""
    return f"{text}; waiting for: {'; '.join(waiting[:EXAMPLES]) or 'nothing, it only has to stay so'}{more}"


@dataclass(frozen=True)
class Result:
    """Everything that the table tells of. Times in seconds, `handover_times` sorted."""

    seed: int
    duration: float
    comparison: Comparison
    devices: int
    operations: int
    posts: int
    repeated: int
    calls_answered: int
    calls_faulty: int
    disturbances: Mapping[Kind, int]
    faults: Mapping[str, int]
    violations: Sequence[str]
    races: Sequence[str]
    handover_times: Sequence[float]
    settled_in: float
    total: float
    surprises: Sequence[str] = field(default=())

    @property
    def agrees(self) -> bool:
        """Whether nothing was lost, nothing is a ghost, every state is right, and no token ever had two owners."""
        return self.comparison.agrees and not self.violations


def show(console: Console, result: Result, log: Path) -> None:
    """Print the table, the verdict, and on failure what differs (never a whole token) and where the logs are."""
    console.print(table(result))
    again = f"make chaos SEED={result.seed} DURATION={result.duration:g}"
    if result.agrees:
        words = f"Nothing lost, no ghosts, no token with two owners, after {result.total:.1f} s ({again})."
        console.print(f"[bold green]Good.[/] {words}", highlight=False, soft_wrap=True)
        return
    console.print(f"[bold red]Not good.[/] The same again: {again}", highlight=False, soft_wrap=True)
    for line in differences(result.comparison, result.violations, result.surprises):
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"  Logs: {log}", highlight=False, soft_wrap=True)


def table(result: Result) -> Table:
    """The table."""
    found = result.comparison
    made = Table(title=f"Chaos, seed {result.seed}, {result.duration:g} s", title_justify="left", show_header=False)
    states = "not compared" if found.states is None else f"{len(found.states)} of {result.devices}"
    times = result.handover_times
    rows = {
        "operations of phones": f"{result.operations} ({result.posts} answers, {result.repeated} requests repeated)",
        "calls that CI-J answered": f"{result.calls_answered} ({result.calls_faulty} calls went wrong on purpose)",
        "kills and cuts": _counted(result.disturbances),
        "faults played": str(sum(result.faults.values())),
        "lost registrations (must be 0)": f"{len(found.missing)} of {found.expected}",
        "ghosts (must be 0)": str(len(found.ghosts)),
        "privacy violations (must be 0)": f"{len(result.violations)} tokens held for two owners at once",
        "wrong device states (must be 0)": states,
        "events lost (must be 0)": f"{len(found.events_missing)} of {found.events_expected}",
        "events with another token, or not to be relayed (must be 0)": str(len(found.events_foreign)),
        "events doubled": f"{found.events_doubled} (allowed: at least once, after a lost answer)",
        "registration and cleanup of one triple in the air together": str(len(result.races)),
        "longest hand-over": f"{times[-1]:.1f} s" if times else "none",
        "median hand-over": f"{percentile(times, 0.5):.1f} s, of {len(times)}" if times else "none",
        "quiet again after": f"{result.settled_in:.1f} s",
    }
    for name, value in rows.items():
        made.add_row(name, value)
    return made


def _counted(counts: Mapping[Kind, int]) -> str:
    listed = "\n".join(f"{count} x {kind}" for kind, count in sorted(counts.items()))
    return f"{sum(counts.values())}\n{listed}" if listed else "0"
