"""Records are named by their id, or by the address of their page in Dynamics."""

import uuid

import pytest

from registry.services.dynamics import parse_record
from registry.services.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("{id}", ""),
        (" {{{id}}} ", ""),
        ("https://contoso.crm4.dynamics.com/main.aspx?appid=1&pagetype=entityrecord&etn=contact&id={id}", "contact"),
        ("https://contoso.crm4.dynamics.com/main.aspx?etn=lead&id=%7B{id}%7D", "lead"),
        ("https://x.dynamics.com/main.aspx?etn=msdynci_customerprofile&id={id}", "profile"),
    ],
)
def test_a_record_is_named_by_its_id_or_by_its_page(text: str, table: str) -> None:
    id_ = uuid.uuid4()
    assert parse_record(text.format(id=id_)) == (table, id_)


@pytest.mark.parametrize("text", ["", "anna", "https://x.dynamics.com/main.aspx?etn=account&id=1", "https://x/?id=1"])
def test_what_names_no_record_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_record(text)
