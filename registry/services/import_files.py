"""Reading a file of devices, row by row, from any point on: CSV with a heading, or one JSON object a line."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from registry.services.cells import unguarded
from registry.services.errors import InvalidInput

LONGEST_LINE = 64 * 1024  # bytes
MOST_LINES = 100  # of one CSV row: more, and a quote was left open
SAMPLE = 1024 * 1024

TEXT = (
    *("installation_id", "platform", "token", "app_version", "os_version", "model", "locale", "time_zone", "last_seen"),
    *("retired_at", "user.id", "user.email", "user.phone"),
)
TRUTH = ("user.push_consent", "user.tracking_consent")
APP = "app"  # as a file that was exported has it: rows of another app than the import's are errors
COLUMNS = (APP, *TEXT, *TRUTH, "sequence")
REQUIRED = ("installation_id", "platform", "token")
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class Row:
    """One row: where it begins, where the next one does, and what it holds or why it holds nothing."""

    line: int
    next_line: int
    next_offset: int  # bytes
    value: Any
    error: str = ""


def fingerprint(path: Path) -> str:
    """Tells two files apart: the size, the beginning and the end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(SAMPLE))
        file.seek(max(0, size - SAMPLE))
        digest.update(file.read())
    return f"{size}:{digest.hexdigest()}"


def read_rows(path: Path, app: str, offset: int = 0, line: int = 1) -> Iterator[Row]:
    """The rows from `offset` on, which is where a row begins, on `line`, for the app of that slug.

    Raises InvalidInput for a useless heading.
    """
    with path.open("rb") as file:
        yield from rows_of(file, path.suffix, app, offset, line)


def rows_of(file: BinaryIO, suffix: str, app: str, offset: int = 0, line: int = 1) -> Iterator[Row]:
    """The same, of an open file whose name ends so."""
    if suffix.lower() not in (".csv", ".jsonl"):
        raise InvalidInput("file", "must be a .csv or a .jsonl file.")
    if suffix.lower() == ".jsonl":
        yield from _json_rows(_Lines(file, offset, line))
        return
    lines = _Lines(file, 0, 1)
    columns = _columns(next(csv.reader(lines), []))
    if offset:
        lines = _Lines(file, offset, line)
    yield from _csv_rows(lines, columns, app)


class _Lines:
    """Lines of text, bounded, that know where they are. Bytes that are no UTF-8 become lone surrogates."""

    def __init__(self, file: BinaryIO, offset: int, line: int) -> None:
        file.seek(offset)
        self._file = file
        self.offset, self.line = offset, line
        self.left = MOST_LINES
        self.too_long = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(LONGEST_LINE)
        if not raw:
            raise StopIteration
        if self.left == 0:
            raise csv.Error("a quote is not closed")
        start = self.offset
        self.left -= 1
        self.line += 1
        self.offset += len(raw)
        self.too_long = not raw.endswith(b"\n") and len(raw) == LONGEST_LINE
        while self.too_long and (rest := self._file.readline(LONGEST_LINE)):
            self.offset += len(rest)
            if rest.endswith(b"\n"):
                break
        if self.too_long:
            return ""
        return raw.decode("utf-8-sig" if start == 0 else "utf-8", errors="surrogateescape")

    def back_to(self, offset: int, line: int) -> None:
        self._file.seek(offset)
        self.offset, self.line = offset, line


def _json_rows(lines: _Lines) -> Iterator[Row]:
    while True:
        line = lines.line
        lines.left = MOST_LINES
        text = next(lines, None)
        if text is None:
            return
        value, error = None, ""
        if lines.too_long:
            error = f"The line is longer than {LONGEST_LINE} bytes."
        elif text.strip():
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as problem:
                error = f"The line is not JSON: {problem}"
        if value is not None or error or text.strip():
            yield Row(line, lines.line, lines.offset, value, error)


def _columns(heading: list[str]) -> list[str]:
    columns = [name.strip() for name in heading]
    unknown = sorted({name for name in columns if name not in COLUMNS})
    missing = [name for name in REQUIRED if name not in columns]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    for names, what in ((unknown, "unknown"), (missing, "missing"), (twice, "there twice")):
        if names:
            listed = ", ".join(repr(name) for name in names)
            raise InvalidInput("file", f"Columns {what}: {listed}. Known are: {', '.join(COLUMNS)}.")
    return columns


def _csv_rows(lines: _Lines, columns: list[str], app: str) -> Iterator[Row]:
    reader = csv.reader(lines, strict=True)
    while True:
        line, begin = lines.line, lines.offset
        lines.left = MOST_LINES
        error, cells = "", None
        try:
            cells = next(reader, None)
            if cells is None and lines.offset == begin:
                return
        except csv.Error as problem:
            error = f"The row is not CSV: {problem}."
        if lines.too_long:
            error = f"The line is longer than {LONGEST_LINE} bytes."
        if error:
            # What an open quote swallowed is read again: the fault is this line's alone.
            lines.back_to(begin, line)
            lines.left = 1
            next(lines, None)
            reader = csv.reader(lines, strict=True)
            yield Row(line, lines.line, lines.offset, None, error)
        elif cells:
            value, error = _object(columns, cells, app)
            yield Row(line, lines.line, lines.offset, value, error)


def _object(columns: list[str], cells: list[str], app: str) -> tuple[Any, str]:
    """The row as the API takes it. An empty cell says nothing."""
    if len(cells) != len(columns):
        return None, f"The row has {len(cells)} cells, the heading {len(columns)}."
    row: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=True):
        if not cell.strip():
            continue
        value: Any = unguarded(cell if name == "token" else cell.strip())
        if name == APP:
            if value != app:
                return None, f"The row is of the app {value}. Leave the column out to import it into {app}."
            continue
        if name in TRUTH and value.lower() in (*_TRUE, *_FALSE):
            value = value.lower() in _TRUE
        elif name == "sequence" and value.isdecimal() and len(value) < 20:
            value = int(value)
        outer, _, inner = name.partition(".")
        if inner:
            row.setdefault(outer, {})[inner] = value
        else:
            row[name] = value
    return row, ""
