"""The tables that a look-up may touch, held in memory, with an index per column that was ever asked for."""

import re
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from sandbox.dataverse.changes import ChangeLog
from sandbox.dataverse.errors import bad_query
from sandbox.dataverse.odata import Eq, Literal, Node, Or

type Row = dict[str, Any]
type Key = str | int | bool | None

GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_EDM = {
    "string": "Edm.String",
    "guid": "Edm.Guid",
    "int": "Edm.Int32",
    "bool": "Edm.Boolean",
    "date": "Edm.DateTimeOffset",
}
_PYTHON: dict[str, type] = {"string": str, "guid": str, "int": int, "bool": bool, "date": str}


def _columns(**kinds: str) -> dict[str, str]:
    return {name: kind for kind, names in kinds.items() for name in names.split()}


class Table:
    """Rows by id. `columns` maps a column's name to string, guid, int, bool or date."""

    def __init__(self, entity: str, id_column: str, columns: dict[str, str]) -> None:
        self.entity = entity
        self.id_column = id_column
        self.columns = {id_column: "guid", **columns}
        self.rows: dict[str, Row] = {}
        self.log = ChangeLog()
        self._indexes: dict[str, dict[Key, set[str]]] = {}

    def put(self, rows: list[Row]) -> list[str]:
        """Add rows, or replace those with the same id; ids that are missing are made up. Returns the ids.

        ValueError where a column is unknown or a value is of the wrong type; then nothing was put in.
        """
        complete = [self._complete(row) for row in rows]
        for row in complete:
            self._store(row)
        return [row[self.id_column] for row in complete]

    def patch(self, row_id: str, changes: Row) -> bool:
        """Change some columns of one row; False where there is no such row, ValueError as for `put`."""
        if row_id not in self.rows:
            return False
        now = {"modifiedon": _now()} | changes
        self._store(self._complete({**self.rows[row_id], **now, self.id_column: row_id}))
        return True

    def delete(self, row_id: str) -> bool:
        """Take one row away; False where there is none."""
        row = self.rows.pop(row_id, None)
        if row is None:
            return False
        self.log.note(row_id, gone=True)
        for column, index in self._indexes.items():
            index[_key(row[column])].discard(row_id)
        return True

    def select(self, node: Node | None) -> list[str]:
        """The ids of the rows that match, sorted, so that pages can be told apart by the last id of each."""
        return sorted(self.rows if node is None else self._matching(node))

    def check_column(self, column: str) -> None:
        """Refuse (400) a column that the table does not have, as Dataverse words it."""
        if column not in self.columns:
            raise bad_query(
                f"Could not find a property named '{column}' on type 'Microsoft.Dynamics.CRM.{self.entity}'."
            )

    def _matching(self, node: Node) -> set[str]:
        # Sets that come out of an index are shared: nothing here changes a set that it did not make.
        if isinstance(node, Eq):
            return self._equal(node.column, node.literal)
        parts = [self._matching(part) for part in node.parts]
        if isinstance(node, Or):
            return set().union(*parts)
        parts.sort(key=len)
        return parts[0].intersection(*parts[1:])

    def _equal(self, column: str, literal: Literal) -> set[str]:
        self.check_column(column)
        kind = self.columns[column]
        if literal.kind not in ("null", kind):
            raise bad_query(
                "A binary operator with incompatible types was detected. Found operand types "
                f"'{_EDM[kind]}' and '{_EDM[literal.kind]}' for operator kind 'Equal'."
            )
        if column not in self._indexes:
            index: dict[Key, set[str]] = defaultdict(set)
            for row_id, row in self.rows.items():
                index[_key(row[column])].add(row_id)
            self._indexes[column] = index
        return self._indexes[column].get(_key(literal.value), set())

    def _complete(self, row: Row) -> Row:
        for column, value in row.items():
            kind = self.columns.get(column)
            if kind is None:
                raise ValueError(f"{self.entity} has no column {column!r}")
            if value is not None and not _fits(kind, value):
                raise ValueError(f"{self.entity}.{column} is a {kind}")
        full: Row = dict.fromkeys(self.columns)
        full |= {"statecode": 0, "modifiedon": _now(), self.id_column: str(uuid.uuid4())} | row
        return {c: v.lower() if v is not None and self.columns[c] == "guid" else v for c, v in full.items()}

    def _store(self, row: Row) -> None:
        row_id = row[self.id_column]
        old = self.rows.get(row_id)
        self.rows[row_id] = row
        self.log.note(row_id)
        for column, index in self._indexes.items():
            if old is not None:
                index[_key(old[column])].discard(row_id)
            index[_key(row[column])].add(row_id)


def _fits(kind: str, value: Any) -> bool:
    return type(value) is _PYTHON[kind] and (kind != "guid" or GUID.fullmatch(str(value)) is not None)


def _key(value: Key) -> Key:
    # "String comparisons are not case sensitive" (webapi/query/filter-rows.md).
    return value.casefold() if isinstance(value, str) else value


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_tables() -> dict[str, Table]:
    """The three tables by their entity set names, empty."""
    emails = "emailaddress1 emailaddress2 emailaddress3"
    contact = _columns(
        string=f"{emails} mobilephone telephone1 telephone2 fullname externaluseridentifier",
        int="statecode statuscode",
        bool="merged",
        guid="_masterid_value _originatingleadid_value",
        date="modifiedon",
    )
    lead = _columns(
        string=f"{emails} mobilephone telephone1 fullname",
        int="statecode",
        bool="merged",
        guid="_masterid_value _parentcontactid_value",
        date="modifiedon",
    )
    profile = _columns(
        string="msdynci_customerid msdynci_email msdynci_phone msdynci_fullname", int="statecode", date="modifiedon"
    )
    return {
        "contacts": Table("contact", "contactid", contact),
        "leads": Table("lead", "leadid", lead),
        "msdynci_customerprofiles": Table("msdynci_customerprofile", "msdynci_customerprofileid", profile),
    }
