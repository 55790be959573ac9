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

    The values travel as arrays, a column each. Django's bulk_update makes a CASE of every value, which takes a worker
    longer than all the rest of what it does with the row.
    """
    if not rows or not fields:
        return
    options = type(rows[0])._meta  # noqa: SLF001 Django documents it
    by_name: dict[str, Field[Any, Any]] = {field.name: field for field in options.concrete_fields}
    written = [by_name[name] for name in fields]
    key = options.pk
    values: list[Any] = []
    casts, columns = [], []
    for field in (key, *written):
        values.append([field.get_db_prep_save(getattr(row, field.attname), connection) for row in rows])
        # Without its length: a cast would cut a text that is too long, where writing it is an error.
        casts.append(f"%s::{str(field.db_type(connection)).split('(')[0]}[]")
        columns.append(f'"{field.column}"')
    assignments = ", ".join(f"{column} = given.{column}" for column in columns[1:])
    # Names of our own tables and columns alone.
    statement = (
        f'UPDATE "{options.db_table}" AS kept SET {assignments} '  # noqa: S608
        f"FROM unnest({', '.join(casts)}) AS given({', '.join(columns)}) WHERE kept.{columns[0]} = given.{columns[0]}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
