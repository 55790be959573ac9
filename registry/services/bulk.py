"""Reading and writing many rows at once."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BigIntegerField, BooleanField, F, Field, Func, Model, TextField, Value


def array(values: Iterable[Any]) -> str:
    """The values as PostgreSQL writes an array of them, to be cast to its type.

    psycopg looks for a dumper for each value, and at each character of what that returns: a tenth of the processor time
    of a worker that registers devices.
    """
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, int | datetime):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return f'"\\\\x{value.hex()}"'
    return _element(json.dumps(value))


def among(column: str, keys: Iterable[int]) -> Func:
    """For `filter` and `When`: the column, a bigint, equals one of the keys.

    They travel as one array. Django's `IN` list has a placeholder for each key, which costs a worker time to build
    and to send.
    """
    return Func(
        F(column),
        Value(array(keys), output_field=TextField()),
        template="%(expressions)s::bigint[])",
        arg_joiner=" = ANY(",
        output_field=BooleanField(),
    )


def among_texts(column: str, texts: Iterable[str]) -> Func:
    """The same of a text, which equals one of some hundreds. They travel as JSON, which Python writes quickest."""
    return Func(
        F(column),
        Value(json.dumps(list(texts)), output_field=TextField()),
        template="%(expressions)s::json)))",
        arg_joiner=" = ANY(ARRAY(SELECT json_array_elements_text(",
        output_field=BooleanField(),
    )


def opaque(key: int) -> Func:
    """The key of an app, or of another row, as a subquery's value, so that the plan is one for any.

    Of an app that has come since the table was analysed PostgreSQL believes that it has no rows: it would read all that
    there are by an index that begins with the app, whatever else it was asked for.
    """
    return Func(Value(key), template="(SELECT %(expressions)s::bigint)", output_field=BigIntegerField())


def update(rows: Sequence[Model], fields: Sequence[str], version: str | None = None) -> set[int]:
    """Write these fields of the rows, all of one model, in one statement; return the keys of those written.

    With `version`, the transaction (PostgreSQL's `xmin`) that wrote all of the rows as they were read: those that
    another has written since are left alone.

    A value that is the same for all travels once, as most do that an answer to a batch writes, the others as one array
    a column. Django's bulk_update makes a CASE of every value, which takes a worker longer than all the rest of what it
    does with the row.
    """
    if not rows or not fields:
        return set()
    options = type(rows[0])._meta  # noqa: SLF001 Django documents it
    by_name: dict[str, Field[Any, Any]] = {field.name: field for field in options.concrete_fields}
    shared: list[tuple[Field[Any, Any], Any]] = []
    given: list[tuple[Field[Any, Any], str]] = [(options.pk, array(row.pk for row in rows))]
    for field in (by_name[name] for name in fields):
        values = [getattr(row, field.attname) for row in rows]
        if values.count(values[0]) == len(values):
            shared.append((field, field.get_db_prep_save(values[0], connection)))
        else:
            given.append((field, array(values)))
    assignments = [f'"{field.column}" = %s::{_type(field)}' for field, _ in shared]
    assignments += [f'"{field.column}" = given."{field.column}"' for field, _ in given[1:]]
    columns = ", ".join(f'"{field.column}"' for field, _ in given)
    arrays = ", ".join(f"%s::{_type(field)}[]" for field, _ in given)
    key = f'"{options.pk.column}"'
    parameters: list[Any] = [value for _, value in (*shared, *given)]
    unchanged = ""
    if version is not None:
        unchanged = "AND kept.xmin = %s::xid"
        parameters.append(version)
    # Names of our own tables and columns alone.
    statement = (
        f'UPDATE "{options.db_table}" AS kept SET {", ".join(assignments)} FROM unnest({arrays}) AS given({columns}) '  # noqa: S608
        f"WHERE kept.{key} = given.{key} {unchanged} RETURNING kept.{key}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return {pk for (pk,) in cursor.fetchall()}


def _type(field: Field[Any, Any]) -> str:
    """The column's, without its length: a cast would cut a text that is too long, where writing it is an error."""
    return str(field.db_type(connection)).split("(")[0]
