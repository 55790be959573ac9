"""What the demo shows: progress while it runs, the result at the end."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sandbox.demo.compare import Comparison, Handovers, percentile
from sandbox.demo.model import Pair

LINE_EVERY = 5.0
EXAMPLES = 10


class Display:
    """Three bars on a terminal; elsewhere a plain line every few seconds."""

    def __init__(self, console: Console, phones: int) -> None:
        self._console = console
        self._phones = phones
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._next_line = 0.0
        self._began = time.monotonic()
        self._stage = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
            self._progress = Progress(*columns, console=self._console)
            self._progress.start()
            for name in ("phones", "registrations", "events"):
                self._bars[name] = self._progress.add_task(name, total=self._phones if name == "phones" else None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(f"{time.monotonic() - self._began:6.1f} s  {text}", highlight=False, soft_wrap=True)

    def update(self, phones_done: int, comparison: Comparison) -> None:
        """Show how far it is."""
        held = comparison.expected - len(comparison.missing)
        events = comparison.events_expected - len(comparison.events_missing)
        now = time.monotonic()
        if self._progress:
            self._progress.update(self._bars["phones"], completed=phones_done)
            self._progress.update(self._bars["registrations"], completed=held, total=comparison.expected)
            self._progress.update(self._bars["events"], completed=events, total=comparison.events_expected)
        elif now >= self._next_line:
            self._next_line = now + LINE_EVERY
            ghosts = len(comparison.ghosts)
            self.say(
                f"phones {phones_done}/{self._phones}, registrations {held}/{comparison.expected} "
                f"(and {ghosts} not wanted any more), events {events}/{comparison.events_expected}"
            )


@dataclass(frozen=True)
class Run:
    """Everything that the report tells of. Times in seconds, each list of them sorted."""

    comparison: Comparison
    events_reported: int
    states: Mapping[str, tuple[str, str]]
    handovers: Handovers
    surprises: Sequence[str]
    results: Mapping[str, int]
    answers: int
    retries: int
    answer_times: Sequence[float]
    registration_times: Sequence[float]
    relay_times: Sequence[float]
    started_in: float
    fleet_took: float
    settled_in: float
    total: float

    @property
    def agrees(self) -> bool:
        """Whether all is exactly as it must be."""
        return self.comparison.agrees and not self.handovers.violations and not self.surprises


def show(console: Console, run: Run, log: Path) -> None:
    """Print the tables, the verdict, and on failure what differs (never a whole token) and where the logs are."""
    for table in (_comparison_table(run), _states_table(run.states), _times_table(run)):
        console.print(table)
    if run.agrees:
        console.print(f"[bold green]Everything agrees[/] after {run.total:.1f} s.", highlight=False)
        return
    console.print("[bold red]Not everything agrees.[/]", highlight=False)
    for line in differences(run.comparison, run.handovers.violations, run.surprises):
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"  Logs: {log}", highlight=False, soft_wrap=True)


def differences(found: Comparison, violations: Sequence[str], surprises: Sequence[str]) -> list[str]:
    """What differs, in plain words: some examples of each kind."""
    groups: dict[str, list[str]] = {
        "missing registration": sorted(map(_pair, found.missing)),
        "ghost (held, but must not be)": sorted(map(_pair, found.ghosts)),
        "event not relayed": sorted(found.events_missing),
        "event relayed that must not be, or with another token": sorted(found.events_foreign),
        "device with another state": [
            f"{name}: expected {expected}, found {state}"
            for name, (expected, state) in sorted((found.states or {}).items())
        ],
        "token that two owners held at once": [_end(token) for token in violations],
        "surprising answer": list(surprises),
    }
    lines = []
    for name, items in groups.items():
        lines += [f"{name}: {item}" for item in items[:EXAMPLES]]
        if len(items) > EXAMPLES:
            lines.append(f"{name}: … and {len(items) - EXAMPLES} more")
    if found.states is None:
        lines.append("the devices' states were not compared, since the above did not agree in time")
    return lines


def _pair(pair: Pair) -> str:
    return f"user {pair[0]}, token {_end(pair[1])}"


def _end(token: str) -> str:
    return f"…{token[-6:]}"


def _comparison_table(run: Run) -> Table:
    found = run.comparison
    table = Table(title="What must be, and what is", title_justify="left")
    for heading in ("", "expected", "found", "missing", "too many"):
        table.add_column(heading, justify="left" if not heading else "right")
    row = ("registrations", found.expected, found.held, len(found.missing), f"{len(found.ghosts)} ghosts")
    table.add_row(*map(str, row))
    relayed = (
        f"events ({run.events_reported} sent)",
        found.events_expected,
        found.events_relayed,
        len(found.events_missing),
        f"{len(found.events_foreign)} foreign, {found.events_doubled} doubled",
    )
    table.add_row(*map(str, relayed))
    wrong = "not compared" if found.states is None else str(len(found.states))
    table.add_row("device states", str(len(run.states)), str(len(run.states)), "", f"{wrong} wrong")
    owners = f"{len(run.handovers.violations)} with two owners"
    table.add_row("hand-overs of a token", "", str(run.handovers.count), "", owners)
    return table


def _states_table(states: Mapping[str, tuple[str, str]]) -> Table:
    table = Table(title="Devices by state", title_justify="left")
    for heading in ("state", "expected", "found"):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    expected, found = (Counter(pair[side] for pair in states.values()) for side in (0, 1))
    for state in sorted(expected.keys() | found.keys()):
        table.add_row(state, str(expected[state]), str(found[state]))
    return table


def _times_table(run: Run) -> Table:
    table = Table(title="Times", title_justify="left", show_header=False)
    registrations = run.registration_times
    stages = (run.started_in, run.fleet_took, run.settled_in, run.total)
    rows = {
        "stack up / phones / settled / total": " / ".join(f"{seconds:.1f} s" for seconds in stages),
        f"post to held by CI-J ({len(registrations)})": _percentiles(registrations),
        f"opened, accepted to relayed ({len(run.relay_times)})": _percentiles(run.relay_times),
        "answer of the ingest API": _percentiles(run.answer_times),
        "requests": f"{run.answers} ({run.answers / max(run.fleet_took, 0.001):.0f}/s), {run.retries} repeated",
        "launches": ", ".join(f"{count} {name}" for name, count in sorted(run.results.items())),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _percentiles(times: Sequence[float]) -> str:
    return f"p50 {percentile(times, 0.5):.3f} s, p95 {percentile(times, 0.95):.3f} s"
