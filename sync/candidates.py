"""Records of Dataverse as a person compares them: read live, while somebody looks at a page.

Nothing is claimed and nothing is stored. No pause is asked: a person who mends something wants to see what is so now.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.dateparse import parse_datetime

from registry.models import DataverseEnvironment
from registry.services.dynamics import record_url
from registry.states import DataverseTable
from sync import connect, records
from sync.clients.dataverse import DataverseClient, Row, Table
from sync.clients.http import plain
from sync.records import Ref

_NAME = {DataverseTable.CONTACT.value: "fullname", DataverseTable.LEAD.value: "fullname"}


@dataclass(frozen=True)
class Candidate:
    """A record, as Dataverse shows it now. `gone` completes "the record …"; such a one cannot be chosen."""

    ref: Ref
    link: str
    name: str = ""
    email: str = ""
    phone: str = ""
    changed_at: datetime | None = None
    gone: str = ""


def read(environment: DataverseEnvironment, refs: Collection[Ref], match: Collection[str]) -> list[Candidate]:
    """Those records, in the order of `refs`; one that is not there, or inactive, says so. Raises RemoteError."""
    client, tables = connect.dataverse(environment), connect.tables(environment)
    found: dict[Ref, Candidate] = {}
    for name in dict.fromkeys(ref.table for ref in refs):
        ids = [ref.id for ref in refs if ref.table == name]
        rows = _rows(client, name, tables[name], ids)
        for id_ in ids:
            ref = Ref(name, id_)
            found[ref] = _candidate(ref, rows.get(id_), tables[name], environment, match)
    return [found[ref] for ref in refs]


def _rows(client: DataverseClient, name: str, table: Table, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Row]:
    more = [_NAME[name], "modifiedon"] if name in _NAME else []
    columns = [*records.COLUMNS[DataverseTable(name)], table.email_column, table.phone_column, *more]
    return client.get(table, list(dict.fromkeys(columns)), ids)


def _candidate(
    ref: Ref, row: Row | None, table: Table, environment: DataverseEnvironment, match: Collection[str]
) -> Candidate:
    where = record_url(environment, ref.table, ref.id)
    if row is None:
        return Candidate(ref, where, gone=records.MISSING.gone)
    found = records.standing(ref.table, row, match)
    gone = found.gone or ("was merged into another, or qualified" if found.leads_to else "")
    changed = row.get("modifiedon")
    return Candidate(
        ref,
        where,
        name=_text(row, _NAME.get(ref.table, "")),
        email=_text(row, table.email_column),
        phone=_text(row, table.phone_column),
        changed_at=parse_datetime(changed) if isinstance(changed, str) else None,
        gone=gone,
    )


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    return plain(value) if isinstance(value, str) else ""
