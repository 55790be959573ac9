"""Secrets at rest, encrypted anew with the first key, while everything runs.

What is encrypted with the first key already is left alone, so that a run which was stopped goes on where it was. A
value that somebody renews meanwhile is theirs: it is written only where it is still what was read.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet, TextField
from django.db.models.functions import Cast

from registry.crypto import EncryptedTextField, opened

BATCH = 100


@dataclass
class Findings:
    """`by_key`: how many values each key (counted from 0) opens; `unreadable`: those that none does, and where."""

    by_key: Counter[int] = field(default_factory=Counter)
    rotated: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def values(self) -> int:
        return self.by_key.total() + len(self.unreadable)

    @property
    def complete(self) -> bool:
        """Whether the first key opens everything."""
        return self.values == self.by_key[0]


def rotate(*, write: bool) -> Iterator[Findings]:
    """Look at every value, and with `write` encrypt anew what the first key does not open.

    Gives the findings so far after each batch. By them a value counts for the key that opens it now.
    """
    found = Findings()
    yield found
    for rows, column in _columns():
        for batch in batched(rows.order_by("pk").values_list("pk", "stored").iterator(BATCH), BATCH, strict=False):
            for pk, stored in batch:
                _look_at(rows.filter(pk=pk, stored=stored), column, stored, f"{rows.model.__name__} {pk}", found, write)
            yield found


def count_values() -> int:
    """How many encrypted values there are."""
    return sum(rows.count() for rows, _ in _columns())


def _look_at(
    row: QuerySet[Any], column: EncryptedTextField, stored: str, name: str, found: Findings, write: bool
) -> None:
    known = opened(stored)
    if known is None:
        found.unreadable.append(f"{name}: {column.name}")
        return
    position, plain = known
    if position > 0 and write and row.update(**{column.name: plain}):
        found.rotated += 1
        position = 0
    found.by_key[position] += 1


def _columns() -> Iterator[tuple[QuerySet[Any], EncryptedTextField]]:
    """Every encrypted column there is, with the rows that hold something in it, `stored` as it is in the database."""
    for model in apps.get_models():
        for column in _encrypted(model):
            rows = QuerySet(model).annotate(stored=Cast(column.name, TextField()))
            yield rows.filter(stored__gt=""), column


def _encrypted(model: type[Model]) -> list[EncryptedTextField]:
    # A proxy has none of its own.
    columns = model._meta.local_fields  # noqa: SLF001 Django's documented API
    return [column for column in columns if isinstance(column, EncryptedTextField)]
