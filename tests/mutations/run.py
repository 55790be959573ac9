"""Take protections out of copies of the tree, and see which test notices.

The working tree is read once and never written. Every run has a copy of its own, and so its own stores and byte code.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from tests.mutations.mutation import ROOT, Mutation
from tests.mutations.protections import PROTECTIONS

LONGEST = 600  # seconds for the tests of one mutation
FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """Which test failed without the protection; empty where none did, and `trouble` where they could not be run."""

    noticed_by: str = ""
    trouble: str = ""

    @property
    def words(self) -> str:
        """As the table says it, in rich's markup."""
        return escape(self.noticed_by) or f"[bold red]{escape(self.trouble) or 'SURVIVED'}[/]"


def main(arguments: Sequence[str]) -> int:
    """Run as the command line says; return the exit status: 0 only where a test missed every protection."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("words", nargs="*", help="only protections whose name or file contains one of these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (default: the cores)")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    chosen = [row for row in PROTECTIONS if _is_meant(row, options.words)]
    if problems := [problem for row in chosen for problem in row.problems()]:
        console.print("The table does not fit the tree:", *problems, sep="\n", markup=False)
        return 1
    if not chosen:
        console.print("No protection is called that.")
        return 1
    console.print(f"{len(chosen)} protections; first their tests with all of them in place")
    tests = sorted({test for row in chosen for test in row.tests})
    # Copies are made of a copy: whoever works on the tree meanwhile is not in the way.
    with copy(ROOT) as whole:
        intact = run(whole, tests, "-n", str(options.jobs))
        if intact != Outcome():
            console.print(f"[bold red]They do not pass:[/] {intact.words}")
            return 1
        with ThreadPoolExecutor(options.jobs) as pool:
            outcomes = list(_told(console, chosen, pool.map(lambda row: without(row, whole), chosen)))
    show(console, chosen, outcomes)
    return 0 if all(outcome.noticed_by for outcome in outcomes) else 1


def without(mutation: Mutation, whole: Path) -> Outcome:
    """Run the mutation's tests in a copy of the whole tree that lacks its protection."""
    with copy(whole) as tree:
        mutation.apply(tree)
        return run(tree, mutation.tests)


@contextmanager
def copy(whole: Path) -> Iterator[Path]:
    """A copy of that tree, without what is hidden or made."""
    with tempfile.TemporaryDirectory(prefix="tokenhub-mutation-") as scratch:
        tree = Path(scratch) / "tree"
        shutil.copytree(whole, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "var"))
        yield tree


def run(tree: Path, tests: Sequence[str], *options: str) -> Outcome:
    """Run these tests in that tree until the first fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "-p", "no:cacheprovider", *options, *tests]
    # Stores of its own: what runs beside it would be in its way in those that the environment may name.
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    try:
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return Outcome(trouble=f"no end within {LONGEST} s")
    if done.returncode == pytest.ExitCode.OK:
        return Outcome()
    # What breaks a fixture or the import was not noticed by a test.
    failed = FAILED.search(done.stdout)
    return Outcome(noticed_by=failed[1]) if failed else Outcome(trouble=f"could not be run: {done.stdout[-2000:]}")


def _is_meant(row: Mutation, words: Sequence[str]) -> bool:
    return not words or any(word.lower() in f"{row.name} {row.file}".lower() for word in words)


def _told(console: Console, chosen: Sequence[Mutation], outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    for number, (row, outcome) in enumerate(zip(chosen, outcomes, strict=True), 1):
        console.print(f"{number}/{len(chosen)} {escape(row.name)}: {outcome.words}", soft_wrap=True)
        yield outcome


def show(console: Console, chosen: Sequence[Mutation], outcomes: Sequence[Outcome]) -> None:
    """The table."""
    table = Table("protection that was taken out", Column("noticed by", overflow="fold"))
    for row, outcome in zip(chosen, outcomes, strict=True):
        table.add_row(escape(row.name), outcome.words)
    survived = sum(not outcome.noticed_by for outcome in outcomes)
    console.print(table)
    console.print(f"{len(outcomes) - survived} noticed, {survived} not")
