"""The migration operation that has a table partitioned by time; registry.services.partitions maintains it then."""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation


class PartitionByTime(Operation):
    """Have PostgreSQL keep a model's table in partitions by a timestamp of its rows.

    The rows that there are move, in this transaction, into the default partition; the next maintenance (which follows
    every `migrate`) makes a partition of its own of it. Indexes and foreign keys stay. PostgreSQL knows no uniqueness
    across partitions: the primary key becomes (id, column), unique constraints have to be taken off before, and Django
    goes on to know rows by their id, which comes from one sequence.
    """

    atomic = True
    reversible = False
    reduces_to_sql = False

    def __init__(self, model_name: str, column: str) -> None:
        self.model_name, self.column = model_name, column

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return (type(self).__name__, [], {"model_name": self.model_name, "column": self.column})

    def describe(self) -> str:
        return f"Partition {self.model_name} by {self.column}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Django's idea of the model stays as it is."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table  # noqa: SLF001 Django's own name
        schema_editor.execute(PARTITION.format(table=table, column=self.column), params=None)


# Index and constraint definitions are read while they name the table, and said again when its name is free.
PARTITION = """
DO $$
DECLARE
    definition text;
    definitions text[];
BEGIN
    IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'u')
        OR EXISTS (SELECT FROM pg_index WHERE indrelid = '{table}'::regclass AND indisunique AND NOT indisprimary) THEN
        RAISE EXCEPTION '{table} has unique constraints, which cannot hold across partitions: remove them first';
    END IF;
    SELECT coalesce(array_agg(text), '{{}}') INTO definitions FROM (
        SELECT pg_get_indexdef(indexrelid) AS text
        FROM pg_index WHERE indrelid = '{table}'::regclass AND NOT indisprimary
        UNION ALL
        SELECT format('ALTER TABLE {table} ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'f'
    ) found;
    ALTER TABLE {table} RENAME TO {table}_flat;
    CREATE TABLE {table} (LIKE {table}_flat INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE ({column});
    CREATE TABLE {table}_default PARTITION OF {table} DEFAULT;
    INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {table}_flat;
    PERFORM setval(pg_get_serial_sequence('{table}', 'id'), greatest((SELECT max(id) FROM {table}_flat), 1));
    DROP TABLE {table}_flat;
    ALTER TABLE {table} ADD PRIMARY KEY (id, {column});
    FOREACH definition IN ARRAY definitions LOOP
        EXECUTE definition;
    END LOOP;
END
$$
"""
