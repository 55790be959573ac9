"""What became of a mapped record, row by row."""

import uuid
from typing import Any

import pytest

from sync.clients.errors import Unavailable
from sync.records import ACTIVE, MAX_HOPS, MISSING, Ref, Standing, end_of, standing

A, B, C = (uuid.UUID(int=number) for number in (1, 2, 3))
CONTACT, LEAD = Ref("contact", A), Ref("lead", B)
TABLES = ["contact", "lead"]


def leads_to(id_: uuid.UUID, table: str = "contact") -> Standing:
    return Standing(leads_to=Ref(table, id_))


@pytest.mark.parametrize(
    ("table", "row", "match", "made", "expected"),
    [
        ("contact", {"statecode": 0}, TABLES, [], ACTIVE),
        ("contact", {"statecode": 0, "merged": False, "_masterid_value": str(B)}, TABLES, [], ACTIVE),
        ("contact", {"statecode": 1, "merged": True, "_masterid_value": str(B)}, TABLES, [], leads_to(B)),
        ("contact", {"statecode": 1, "merged": True}, TABLES, [], Standing("was deactivated")),
        ("contact", {"statecode": 1, "merged": False}, TABLES, [], Standing("was deactivated")),
        ("lead", {"statecode": 0, "_parentcontactid_value": str(B)}, TABLES, [], ACTIVE),
        ("lead", {"statecode": 2, "_parentcontactid_value": str(B)}, TABLES, [], Standing("was disqualified")),
        ("lead", {"statecode": 1, "_parentcontactid_value": str(B)}, TABLES, [], leads_to(B)),
        ("lead", {"statecode": 2, "merged": True, "_masterid_value": str(C)}, TABLES, [], leads_to(C, "lead")),
        ("lead", {"statecode": 2, "merged": True, "_masterid_value": str(C)}, ["lead"], [], leads_to(C, "lead")),
        ("lead", {"statecode": 2, "merged": True}, TABLES, [], Standing("was disqualified")),
        (
            "lead",
            {"statecode": 2, "merged": False, "_masterid_value": str(C)},
            TABLES,
            [],
            Standing("was disqualified"),
        ),
        # Merged once, active again, then qualified: its contact is who it is now.
        ("lead", {"statecode": 1, "merged": True, "_masterid_value": str(C)}, TABLES, [A], leads_to(A)),
        ("lead", {"statecode": 1}, TABLES, [C], leads_to(C)),
        # The contact that was made of it comes before the one that it was entered for.
        ("lead", {"statecode": 1, "_parentcontactid_value": str(B)}, TABLES, [C], leads_to(C)),
        ("lead", {"statecode": 1, "_parentcontactid_value": str(B)}, TABLES, [A, C], leads_to(B)),
        ("lead", {"statecode": 1}, TABLES, [A, C], Standing("was qualified to no contact")),
        ("lead", {"statecode": 1}, TABLES, [], Standing("was qualified to no contact")),
        (
            "lead",
            {"statecode": 1, "_parentcontactid_value": str(B)},
            ["lead"],
            [],
            Standing("was qualified, and this app does not look for contacts"),
        ),
        ("profile", {}, TABLES, [], ACTIVE),
    ],
)
def test_what_a_row_says(
    table: str, row: dict[str, Any], match: list[str], made: list[uuid.UUID], expected: Standing
) -> None:
    assert standing(table, row, match, made) == expected


@pytest.mark.parametrize(
    "row",
    [{}, {"statecode": None}, {"statecode": "1"}, {"statecode": 1, "merged": True, "_masterid_value": "no id"}],
)
def test_a_row_that_makes_no_sense_is_no_loss(row: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        standing("contact", row, TABLES)


def chain(hops: int) -> dict[Ref, Standing]:
    """Contacts 1, 2, …, each merged into the next, the last active."""
    links = {Ref("contact", uuid.UUID(int=n)): leads_to(uuid.UUID(int=n + 1)) for n in range(1, hops + 1)}
    return links | {Ref("contact", uuid.UUID(int=hops + 1)): ACTIVE}


@pytest.mark.parametrize(
    ("start", "known", "end"),
    [
        (CONTACT, {CONTACT: ACTIVE}, CONTACT),
        (LEAD, {LEAD: leads_to(A), CONTACT: ACTIVE}, CONTACT),
        (CONTACT, chain(MAX_HOPS), Ref("contact", uuid.UUID(int=MAX_HOPS + 1))),
        (CONTACT, chain(MAX_HOPS + 1), "merged more than 5 times"),
        (CONTACT, {CONTACT: leads_to(A)}, "in a ring"),
        (CONTACT, {CONTACT: leads_to(B), Ref("contact", B): leads_to(A)}, "in a ring"),
        (CONTACT, {CONTACT: MISSING}, "The contact that this user was mapped to is not there any more."),
        (LEAD, {LEAD: leads_to(A), CONTACT: MISSING}, "now leads to a contact that is not there any more."),
    ],
)
def test_where_a_chain_ends(start: Ref, known: dict[Ref, Standing], end: Ref | str) -> None:
    found = end_of(start, known)
    assert found == end if isinstance(end, Ref) else (isinstance(found, str) and end in found)
