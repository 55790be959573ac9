"""What became of records that users are mapped to: active, merged, qualified, deactivated or gone.

Sources: MicrosoftDocs, contact and lead table reference. Of two merged contacts or leads one is deactivated and names
its master. A qualified lead names its parent contact, and a contact that was made of a lead names the lead.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from registry.states import DataverseTable
from sync.clients.dataverse import DataverseClient, Row, Table, by_value
from sync.clients.errors import Unavailable

MAX_HOPS = 5  # merges of merges; a longer chain, or a ring, leads nowhere
COLUMNS = {
    DataverseTable.CONTACT: ["statecode", "merged", "_masterid_value"],
    DataverseTable.LEAD: ["statecode", "merged", "_masterid_value", "_parentcontactid_value"],
    DataverseTable.PROFILE: [],
}
OPEN, QUALIFIED = 0, 1  # of `statecode`; 0 is active in every table


class Ref(NamedTuple):
    """One record of Dataverse."""

    table: str
    id: uuid.UUID


@dataclass(frozen=True)
class Standing:
    """Active, unless it leads to another record or is gone: `gone` completes "the record …"."""

    gone: str = ""
    leads_to: Ref | None = None


ACTIVE = Standing()
MISSING = Standing("is not there any more")


def trace(
    client: DataverseClient, tables: Mapping[str, Table], match: Collection[str], starts: Collection[Ref]
) -> dict[Ref, Standing]:
    """Read these records and those that they lead to, a few calls for all. Raises RemoteError.

    Contacts are looked at for leads only where the app may be mapped to contacts.
    """
    known: dict[Ref, Standing] = {}
    asked = set(starts)
    for _ in range(MAX_HOPS + 1):
        for table in DataverseTable.values:
            if ids := sorted(ref.id for ref in asked if ref.table == table):
                rows = client.get(tables[table], COLUMNS[DataverseTable(table)], ids)
                made = _made_from(client, tables, match, rows) if table == DataverseTable.LEAD else {}
                for id_ in ids:
                    row = rows.get(id_)
                    known[Ref(table, id_)] = standing(table, row, match, made.get(str(id_), [])) if row else MISSING
        asked = {found.leads_to for found in known.values() if found.leads_to} - known.keys()
    return known


def end_of(start: Ref, known: Mapping[Ref, Standing]) -> Ref | str:
    """The active record at the end of the chain, or a sentence on why there is none."""
    at = start
    for _ in range(MAX_HOPS + 1):
        found = known[at]
        if found.gone:
            link = "" if at == start else f"now leads to a {DataverseTable(at.table).label} that "
            return f"The {DataverseTable(start.table).label} that this user was mapped to {link}{found.gone}."
        if found.leads_to is None:
            return at
        at = found.leads_to
    return f"The {start.table} that this user was mapped to was merged more than {MAX_HOPS} times, or in a ring."


def standing(table: str, row: Row, match: Collection[str], made: Collection[uuid.UUID] = ()) -> Standing:
    """What a row says. `made`: the active contacts that name the lead as their origin."""
    if is_active(table, row):
        return ACTIVE
    if table == DataverseTable.LEAD and row["statecode"] == QUALIFIED:
        return _qualified(row, match, made)
    if row.get("merged") is True and (master := _guid(row, "_masterid_value")):
        return Standing(leads_to=Ref(table, master))
    return Standing("was deactivated" if table == DataverseTable.CONTACT else "was disqualified")


def is_active(table: str, row: Row) -> bool:
    """Whether a row says that its record is active; a profile that is there is. Raises Unavailable where it does not
    say."""
    if table == DataverseTable.PROFILE:
        return True
    state = row.get("statecode")
    if type(state) is not int:
        raise Unavailable("the answer holds a record without statecode")
    return state == OPEN


def _qualified(row: Row, match: Collection[str], made: Collection[uuid.UUID]) -> Standing:
    if DataverseTable.CONTACT not in match:
        return Standing("was qualified, and this app does not look for contacts")
    contact = next(iter(made)) if len(made) == 1 else _guid(row, "_parentcontactid_value")
    if contact is None:
        return Standing("was qualified to no contact")
    return Standing(leads_to=Ref(DataverseTable.CONTACT, contact))


def _made_from(
    client: DataverseClient, tables: Mapping[str, Table], match: Collection[str], leads: Mapping[uuid.UUID, Row]
) -> dict[str, list[uuid.UUID]]:
    qualified = [id_ for id_, row in leads.items() if row.get("statecode") == QUALIFIED]
    if not qualified or DataverseTable.CONTACT not in match:
        return {}
    return by_value(client.find(tables[DataverseTable.CONTACT], "_originatingleadid_value", qualified))


def _guid(row: Row, column: str) -> uuid.UUID | None:
    value = row.get(column)
    try:
        return uuid.UUID(value) if value else None
    except (TypeError, ValueError, AttributeError):
        raise Unavailable(f"the answer holds a {column} that is no id") from None
