"""Addresses of records' pages in Dynamics: made for people to open, and taken from what they paste.

Source: MicrosoftDocs/powerapps-docs, open-forms-views-dialogs-reports-url.
"""

import re
import uuid
from urllib.parse import parse_qs, urlsplit

from registry.models import DataverseEnvironment
from registry.services.errors import InvalidInput
from registry.states import DataverseTable

ENTITIES = {
    DataverseTable.CONTACT.value: "contact",
    DataverseTable.LEAD.value: "lead",
    DataverseTable.PROFILE.value: "msdynci_customerprofile",
}


def record_url(environment: DataverseEnvironment, table: str, record: uuid.UUID) -> str:
    """The record's page in Dynamics; "" where the table is not known, as of a record that the app gave."""
    if table not in ENTITIES:
        return ""
    return f"{environment.url}/main.aspx?pagetype=entityrecord&etn={ENTITIES[table]}&id={record}"


def parse_record(text: str) -> tuple[str, uuid.UUID]:
    """The table ("" where it is not said) and the id of a record, from its id or from the address of its page in
    Dynamics. Raises InvalidInput."""
    spelled = text.strip()
    query = parse_qs(urlsplit(spelled).query) if "?" in spelled else {}
    entity, given = (query.get(name, [""])[0] for name in ("etn", "id"))
    tables = {value: key for key, value in ENTITIES.items()}
    if entity and entity not in tables:
        raise InvalidInput("record", f"The address is of a {entity[:40]}; users are contacts, leads or profiles.")
    try:
        return tables.get(entity, ""), uuid.UUID(re.sub(r"[{}]", "", given or spelled))
    except ValueError:
        raise InvalidInput("record", "Give the record's id, or the address of its page in Dynamics.") from None
