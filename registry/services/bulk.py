"""Reading and writing many rows at once."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection
from django.db.models import BooleanField, F, Field, Func, Model, Value


def among(column: str, keys: Iterable[int]) -> Func:
    """For `filter` and `When`: the column, a bigint, equals one of the keys.

    They travel as one array. Django's `IN` list has a placeholder for each key, which costs a worker time to build
    and to send.
    """
    return Func(
        F(column),
        Value(list(keys)),
        template="%(expressions)s::bigint[])",
        arg_joiner=" = ANY(",
        output_field=BooleanField(),
    )


def update(rows: Sequence[Model], fields: Sequence[str]) -> None:
    """Write these fields of the rows, all of one model, in one statement.

    A value that is the same for all travels once, as most do that an answer to a batch writes, the others as one array
    a column. Django's bulk_update makes a CASE of every value, which takes a worker longer than all the rest of what it
    does with the row.
    """
    if not rows or not fields:
        return
    options = type(rows[0])._meta  # noqa: SLF001 Django documents it
    by_name: dict[str, Field[Any, Any]] = {field.name: field for field in options.concrete_fields}
    shared: list[tuple[Field[Any, Any], Any]] = []
    given: list[tuple[Field[Any, Any], list[Any]]] = [(options.pk, [row.pk for row in rows])]
    for field in (by_name[name] for name in fields):
        values = [getattr(row, field.attname) for row in rows]
        if values.count(values[0]) == len(values):
            shared.append((field, field.get_db_prep_save(values[0], connection)))
        else:
            given.append((field, [field.get_db_prep_save(value, connection) for value in values]))
    assignments = [f'"{field.column}" = %s::{_type(field)}' for field, _ in shared]
    assignments += [f'"{field.column}" = given."{field.column}"' for field, _ in given[1:]]
    columns = ", ".join(f'"{field.column}"' for field, _ in given)
    arrays = ", ".join(f"%s::{_type(field)}[]" for field, _ in given)
    # Names of our own tables and columns alone.
    statement = (
        f'UPDATE "{options.db_table}" AS kept SET {", ".join(assignments)} '  # noqa: S608
        f'FROM unnest({arrays}) AS given({columns}) WHERE kept."{options.pk.column}" = given."{options.pk.column}"'
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [value for _, value in (*shared, *given)])


def _type(field: Field[Any, Any]) -> str:
    """The column's, without its length: a cast would cut a text that is too long, where writing it is an error."""
    return str(field.db_type(connection)).split("(")[0]
