"""`manage.py import_devices`: take over another system's devices from a file, however often it is interrupted."""

import fcntl
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import batched
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from registry.api.imports import ERROR, RETIRED, CheckedRows, check_rows, import_checked
from registry.api.serializers import MAX_IMPORT
from registry.management.base import JsonCommand, app_by_slug
from registry.management.long_work import progress, stoppable
from registry.models import MobileApp
from registry.services import imports
from registry.services.import_files import Row, fingerprint, read_rows

SWITCH_INTERVAL = 0.0005  # seconds

RESULTS = ("created", "updated", "unchanged", "stale", RETIRED, ERROR)


class Command(JsonCommand):
    help = (
        "Import devices from a .csv or .jsonl file. Can be interrupted, even killed, and goes on where it was when it "
        "is started again. Rows with errors are left out and written to a file."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "file", type=Path, help="columns or fields as in POST /api/v1/devices/import: docs/runbook.md"
        )
        parser.add_argument("--app", required=True, help="the app's slug")
        parser.add_argument("--dry-run", action="store_true", help="check everything and change nothing")
        parser.add_argument(
            "--errors", type=Path, help="where rows with errors are written; default: FILE.errors.jsonl"
        )
        parser.add_argument("--restart", action="store_true", help="begin at the top, whatever was done before")

    def act(self, **options: Any) -> dict[str, Any]:
        path: Path = options["file"]
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        app = app_by_slug(options["app"])
        run = _Run(app, path, options["errors"] or path.with_name(f"{path.name}.errors.jsonl"), dry=options["dry_run"])
        with _alone(path), _quick_to_switch(), stoppable() as stop:
            run.begin(restart=options["restart"])
            complete = run.work(stop)
        if not complete:
            where = "" if options["dry_run"] else f" {run.rows} rows are done; the same command goes on from there."
            raise CommandError(f"Stopped at line {run.line}.{where}", returncode=130)
        return run.report()

    def say(self, result: dict[str, Any]) -> str:
        counts = ", ".join(f"{result[name]} {name}" for name in RESULTS)
        return f"{result['rows']} rows{' (dry run: nothing was changed)' if result['dry_run'] else ''}: {counts}."

    def handle(self, *args: Any, **options: Any) -> str:
        said = super().handle(*args, **options)
        failed = json.loads(said)[ERROR] if options["json"] else not said.endswith(f" 0 {ERROR}.")
        if failed:
            self.stdout.write(said)
            path = options["errors"] or f"{options['file']}.errors.jsonl"
            rest = "" if options["dry_run"] else " Everything else is imported."
            raise CommandError(f"Some rows have errors: {path} names them.{rest}")
        return said


class _Run:
    """One run over a file, and the note beside it of how far it has come."""

    def __init__(self, app: MobileApp, path: Path, errors: Path, *, dry: bool) -> None:
        self._app, self._path, self._errors, self._dry = app, path, errors, dry
        self._note = path.with_name(f"{path.name}.progress.json")
        self._fingerprint = fingerprint(path)
        self._offset = self._errors_size = 0
        self.line = 1
        self.counts = Counter[str]()

    @property
    def rows(self) -> int:
        return self.counts.total()

    def begin(self, *, restart: bool) -> None:
        """Take up what an earlier run noted. CommandError where the file is another by now."""
        if not self._dry and not restart and self._note.exists():
            noted = json.loads(self._note.read_text())
            if noted["file"] != self._fingerprint or noted["app"] != self._app.slug:
                raise CommandError(
                    f"{self._note} is about another app, or the file was changed since. Use --restart to begin at the "
                    "top: what is imported already is found unchanged."
                )
            self._offset, self.line, self._errors_size = noted["offset"], noted["line"], noted["errors_size"]
            self.counts = Counter(noted["counts"])
        with self._errors.open("ab") as file:
            file.truncate(self._errors_size)  # what was written after the last note is written again

    def work(self, stop: Sequence[int]) -> bool:
        """Import the rest, until `stop` holds something; return whether the end was reached."""
        with progress(self._path.stat().st_size) as show:
            show(self._offset, _words(self.counts))
            rest = read_rows(self._path, self._app.slug, self._offset, self.line)
            for number, (rows, checked) in enumerate(_check_ahead(self._app, rest)):
                self._do(rows, checked)
                if number == 0 and not self._dry:
                    imports.analyse_tables(only_small=True)
                show(self._offset, _words(self.counts))
                if stop:
                    return False
        if not self._dry:
            if self.counts["created"] >= imports.SMALL:
                imports.analyse_tables(only_small=False)  # an app may be new beside millions of other devices
            self._note.unlink(missing_ok=True)
        if not self.counts[ERROR]:
            self._errors.unlink()
        return True

    def report(self) -> dict[str, Any]:
        counts = {name: self.counts[name] for name in RESULTS}
        return {"app": self._app.slug, "file": str(self._path), "dry_run": self._dry, "rows": self.rows, **counts}

    def _do(self, rows: Sequence[Row], checked: CheckedRows) -> None:
        with transaction.atomic() if self._dry else nullcontext():
            answers = import_checked(self._app, checked)
            if self._dry:
                transaction.set_rollback(True)
        told = {row.line: answer for row, answer in zip(_readable(rows), answers, strict=True)}
        with self._errors.open("ab") as file:
            for row in rows:
                answer = told.get(row.line, {"result": ERROR, "errors": [{"field": "body", "detail": row.error}]})
                self.counts[answer["result"]] += 1
                if answer["result"] == ERROR:
                    entry = {"line": row.line, "errors": answer["errors"]}
                    file.write(json.dumps(entry, ensure_ascii=True).encode() + b"\n")
            self._errors_size = file.tell()
        self._offset, self.line = rows[-1].next_offset, rows[-1].next_line
        if not self._dry:
            self._write_note()

    def _write_note(self) -> None:
        noted = {
            "file": self._fingerprint,
            "app": self._app.slug,
            "offset": self._offset,
            "line": self.line,
            "errors_size": self._errors_size,
            "counts": self.counts,
        }
        fresh = self._note.with_suffix(".new")
        fresh.write_text(json.dumps(noted))
        os.replace(fresh, self._note)  # noqa: PTH105 the one that is atomic


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps a second run over the same file out: each would overwrite what the other notes."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(f"{path} is being imported already, by another process.") from None
        yield


@contextmanager
def _quick_to_switch() -> Iterator[None]:
    """Has the thread that checks leave off soon when PostgreSQL has answered: it would go on for Python's 5 ms each
    time, longer than most statements take, and PostgreSQL would rest."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _check_ahead(app: MobileApp, rows: Iterable[Row]) -> Iterator[tuple[Sequence[Row], CheckedRows]]:
    """The rows, MAX_IMPORT at a time, and what is to be done with them.

    The next ones are checked in another thread while the caller writes these: half of writing is waiting.
    """
    with ThreadPoolExecutor(1) as pool:
        before: tuple[Sequence[Row], Future[CheckedRows]] | None = None
        for several in batched(rows, MAX_IMPORT, strict=False):
            checking = pool.submit(check_rows, app, [row.value for row in _readable(several)])
            if before:
                yield before[0], before[1].result()
            before = several, checking
        if before:
            yield before[0], before[1].result()


def _readable(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.error]


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in RESULTS if counts[name]) or "0 rows"
