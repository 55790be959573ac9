"""How rows of the big tables become instances."""

from collections.abc import Collection, Mapping
from typing import Any, Self

from django.db import connection, models
from django.db.models.base import ModelState


class PlainlyLoaded(models.Model):
    """A model whose rows are loaded into their instances as they come.

    Django passes them through `__init__`, which sets each attribute by itself and asks for signals that nobody here
    sends: two fifths of the processor time of a worker that registers devices. It documents `from_db` as the place to
    change that ("Customizing model loading").
    """

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **more: Any) -> Self:
        """An instance with these values. A field that is not among them is loaded when it is first read."""
        loaded = cls.__new__(cls)
        loaded.__dict__.update(zip(field_names, values, strict=True))
        state = loaded._state = ModelState()  # noqa: SLF001 our own instance
        state.adding, state.db = False, db
        state.__dict__.update(more)  # how relations are fetched, where a query says so
        return loaded

    @classmethod
    def run(cls, statement: str, parameters: Mapping[str, Any]) -> list[Self]:
        """The instances of the rows that a statement returns; a column that is no field becomes an attribute, too."""
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            names = [column.name for column in cursor.description]
            return [cls.from_db(connection.alias, names, values) for values in cursor.fetchall()]
