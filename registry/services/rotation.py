"""Secrets at rest, encrypted anew with the first key, while everything runs.

What is encrypted with the first key already is left alone, so that a run which was stopped goes on where it was. A
value that somebody renews meanwhile is theirs: it is written only where it is still what was read.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import batched
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.db.models import F, Func, JSONField, Model, QuerySet, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from registry.crypto import EncryptedTextField, encrypt, opened

BATCH = 100
# What the codes of a second factor are made from: django-allauth keeps it in JSON, encrypted by our adapter of its.
SECOND_FACTOR = ("secret", "seed")


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


@dataclass(frozen=True)
class Place:
    """Where encrypted values are: the rows that hold one, `stored` as it is in the database, and its name.

    `written` gives the fields to update for a value in plain text.
    """

    rows: QuerySet[Any]
    name: str
    written: Callable[[str], dict[str, Any]]


def rotate(*, write: bool) -> Iterator[Findings]:
    """Look at every value, and with `write` encrypt anew what the first key does not open.

    Gives the findings so far after each batch. By them a value counts for the key that opens it now.
    """
    found = Findings()
    yield found
    for place in _places():
        values = place.rows.order_by("pk").values_list("pk", "stored").iterator(BATCH)
        for batch in batched(values, BATCH, strict=False):
            for pk, stored in batch:
                _look_at(place, pk, stored, found, write)
            yield found


def count_values() -> int:
    """How many encrypted values there are."""
    return sum(place.rows.count() for place in _places())


def newest(count: int) -> Iterator[str]:
    """The newest encrypted values of each place, as they are in the database."""
    for place in _places():
        yield from place.rows.order_by("-pk").values_list("stored", flat=True)[:count]


def _look_at(place: Place, pk: int, stored: str, found: Findings, write: bool) -> None:
    known = opened(stored)
    if known is None:
        found.unreadable.append(f"{place.rows.model.__name__} {pk}: {place.name}")
        return
    position, plain = known
    if position > 0 and write and place.rows.filter(pk=pk, stored=stored).update(**place.written(plain)):
        found.rotated += 1
        position = 0
    found.by_key[position] += 1


def _places() -> Iterator[Place]:
    """Every place there is."""
    for model in apps.get_models():
        for column in _encrypted(model):
            yield _place(model, Cast(column.name, TextField()), column.name, partial(_column, column.name))
    for key in SECOND_FACTOR:
        yield _place(Authenticator, KeyTextTransform(key, "data"), key, partial(_inside_json, key))


def _place(model: type[Model], stored: Any, name: str, written: Callable[[str], dict[str, Any]]) -> Place:
    return Place(QuerySet(model).annotate(stored=stored).filter(stored__gt=""), name, written)


def _column(name: str, plain: str) -> dict[str, Any]:
    return {name: plain}  # the field encrypts it


def _inside_json(key: str, plain: str) -> dict[str, Any]:
    path, value = Value(f"{{{key}}}"), Value(encrypt(plain), JSONField())
    return {"data": Func(F("data"), path, value, function="jsonb_set")}


def _encrypted(model: type[Model]) -> list[EncryptedTextField]:
    # A proxy has none of its own.
    columns = model._meta.local_fields  # noqa: SLF001 Django's documented API
    return [column for column in columns if isinstance(column, EncryptedTextField)]
