"""Many values are asked for at once, within Dataverse's limits."""

import uuid

import pytest

from sync.clients.dataverse import MAX_URL, literal, queries


@pytest.mark.parametrize(
    ("column", "most", "expected"),
    [
        ("contactid", 500, [500, 500, 200]),
        ("contactid", 499, [499, 499, 202]),
        ("msdynci_customerprofileid", 500, [424, 424, 352]),  # the URL's length decides
    ],
)
def test_ids_are_asked_for_in_chunks(column: str, most: int, expected: list[int]) -> None:
    ids = [uuid.UUID(int=number) for number in range(1200)]
    select = f"https://contoso.crm4.dynamics.com/api/data/v9.2/records?$select={column}&$filter=("
    urls = list(queries(select, column, map(literal, ids), most))
    assert max(map(len, urls)) <= MAX_URL
    assert [url.count("%20eq%20") for url in urls] == expected
    asked = [part.rpartition("%20")[2] for url in urls for part in url.removesuffix(")").split("%20or%20")]
    assert asked == [str(id_) for id_ in ids]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("o'neil", "'o''neil'"), ("", "''"), (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001")],
)
def test_literals(value: str | uuid.UUID, expected: str) -> None:
    assert literal(value) == expected
