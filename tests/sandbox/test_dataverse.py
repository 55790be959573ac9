"""Looking people up."""

import uuid
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from sandbox.admin_client import SandboxAdmin
from tests.sandbox.process import Running
from tests.sandbox.test_entra import ask


class Reader:
    """Queries with a token, as a client of the Web API makes them."""

    def __init__(self, client: httpx2.Client, token: str) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}", "OData-Version": "4.0", "OData-MaxVersion": "4.0"}

    def get(self, path: str, prefer: Mapping[str, str] | None = None, /, **options: str) -> httpx2.Response:
        params = {f"${name}": value for name, value in options.items()}
        url = path if path.startswith("https:") else f"/api/data/v9.2/{path}"
        return self.client.get(url, params=params or None, headers={**self.headers, **(prefer or {})})

    def ids(self, condition: str, table: str = "contacts", column: str = "contactid") -> list[str]:
        answer = self.get(table, select=column, filter=condition)
        assert answer.status_code == 200, answer.text
        return [row[column] for row in answer.json()["value"]]


@pytest.fixture
def reader(running: Running, client: httpx2.Client) -> Reader:
    return Reader(client, ask(running, client).json()["access_token"])


def test_the_address_is_compared_without_regard_to_case(reader: Reader, admin: SandboxAdmin) -> None:
    [anna] = admin.add_records("contacts", [{"emailaddress1": "Anna@Example.com"}])
    assert reader.ids("emailaddress1 eq 'aNNA@example.COM'") == [anna]


@pytest.mark.parametrize("address", ["o'neil@example.com", "a+b@example.com", "jürgen@example.com", "a&b=c#d%@x.y"])
def test_awkward_characters_are_found(reader: Reader, admin: SandboxAdmin, address: str) -> None:
    [found] = admin.add_records("contacts", [{"emailaddress1": address}])
    literal = address.replace("'", "''")
    assert reader.ids(f"emailaddress1 eq '{literal}'") == [found]


def test_a_plus_that_is_not_encoded_is_a_blank(reader: Reader, admin: SandboxAdmin) -> None:
    [found] = admin.add_records("contacts", [{"mobilephone": "+4930123456"}])
    path = "contacts?$select=contactid&$filter=mobilephone%20eq%20'{}4930123456'"
    assert reader.get(path.format("+")).json()["value"] == []
    assert reader.get(path.format("%2B")).json()["value"][0]["contactid"] == found


def test_conditions_combine_over_state_null_and_references(reader: Reader, admin: SandboxAdmin) -> None:
    master, loser, other = admin.add_records(
        "contacts", [{"emailaddress1": "a@x.y"}, {"emailaddress1": "a@x.y", "statecode": 1}, {"emailaddress1": "b@x.y"}]
    )
    admin.patch_record("contacts", loser, merged=True, _masterid_value=master)
    assert reader.ids("emailaddress1 eq 'a@x.y' and statecode eq 0") == [master]
    assert reader.ids(f"_masterid_value eq {master}") == [loser]
    assert reader.ids("merged eq true or emailaddress1 eq 'b@x.y'") == sorted([loser, other])
    assert reader.ids("_masterid_value eq null and (emailaddress1 eq 'a@x.y')") == [master]
    admin.delete_record("contacts", master)
    assert reader.ids("emailaddress1 eq 'a@x.y' and statecode eq 0") == []


@pytest.mark.parametrize(
    ("table", "row", "condition", "column"),
    [
        ("leads", {"mobilephone": "+49301"}, "mobilephone eq '+49301'", "leadid"),
        (
            "msdynci_customerprofiles",
            {"msdynci_email": "a@x.y", "msdynci_customerid": "ab" * 16},
            f"msdynci_customerid eq '{'AB' * 16}'",
            "msdynci_customerprofileid",
        ),
    ],
)
def test_leads_and_profiles_are_there_too(
    reader: Reader, admin: SandboxAdmin, table: str, row: dict[str, Any], condition: str, column: str
) -> None:
    added = admin.add_records(table, [row])
    assert reader.ids(condition, table, column) == added


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": "contactid,nickname"}, "Could not find a property named 'nickname' on type"),
        ({"filter": "nickname eq 'a'"}, "Could not find a property named 'nickname' on type"),
        ({"filter": "emailaddress1 eq 1"}, "incompatible types"),
        ({"filter": "statecode eq '0'"}, "incompatible types"),
        ({"filter": "_masterid_value eq 'x'"}, "incompatible types"),
        ({"expand": "parentcustomerid"}, "not supported"),
        ({"top": "0"}, "$top"),
        ({"skiptoken": "abc"}, "skiptoken"),
    ],
)
def test_a_query_that_dataverse_would_not_take_is_refused(
    reader: Reader, options: dict[str, str], message: str
) -> None:
    answer = reader.get("contacts", **options)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "0x80060888"
    assert message in answer.json()["error"]["message"]


def test_an_unknown_table_and_a_wrong_odata_version_are_refused(reader: Reader) -> None:
    unknown = reader.get("people")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "0x8006088a")
    assert reader.get("contacts", {"OData-Version": "3.0"}).status_code == 400


def test_500_conditions_fit_and_501_do_not(reader: Reader, admin: SandboxAdmin) -> None:
    [found] = admin.add_records("contacts", [{"emailaddress1": "u499@x.y"}])
    conditions = [f"emailaddress1 eq 'u{number}@x.y'" for number in range(501)]
    assert reader.ids(" or ".join(conditions[:500])) == [found]
    refused = reader.get("contacts", filter=" or ".join(conditions))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "0x8004430C")


def test_a_url_of_32768_characters_fits_and_one_more_does_not(running: Running, reader: Reader) -> None:
    start = f"{running.details['url']}/api/data/v9.2/contacts?$filter=emailaddress1%20eq%20'"
    fits = start + "a" * (32768 - len(start) - 1) + "'"
    assert reader.get(fits).status_code == 200
    assert reader.get(fits[:-1] + "a'").status_code == 414


def test_pages_are_followed_by_their_link(reader: Reader, admin: SandboxAdmin) -> None:
    ids = set(admin.add_records("contacts", [{"emailaddress1": "same@x.y"}] * 7))
    prefer = {"Prefer": "odata.maxpagesize=3"}
    page = reader.get("contacts", prefer, select="contactid", filter="emailaddress1 eq 'same@x.y'")
    assert page.headers["preference-applied"] == "odata.maxpagesize=3"
    sizes, seen = [], set()
    while True:
        sizes.append(len(page.json()["value"]))
        seen |= {row["contactid"] for row in page.json()["value"]}
        if "@odata.nextLink" not in page.json():
            break
        page = reader.get(page.json()["@odata.nextLink"], prefer)
    assert (sizes, seen) == ([3, 3, 1], ids)


def test_a_page_holds_5000_rows_and_no_more(reader: Reader, admin: SandboxAdmin) -> None:
    admin.add_records("leads", [{"emailaddress1": f"u{number}@x.y"} for number in range(5001)])
    page = reader.get("leads", {"Prefer": "odata.maxpagesize=9999"}, select="leadid").json()
    assert len(page["value"]) == 5000
    assert len(reader.get(page["@odata.nextLink"]).json()["value"]) == 1


def test_one_row_is_read_by_its_id(reader: Reader, admin: SandboxAdmin) -> None:
    [anna] = admin.add_records("contacts", [{"fullname": "Anna", "emailaddress1": "a@x.y"}])
    row = reader.get(f"contacts({anna.upper()})", select="fullname").json()
    assert (row["fullname"], row["contactid"], "emailaddress1" in row) == ("Anna", anna, False)
    missing = reader.get(f"contacts({uuid.uuid4()})", select="fullname")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "0x80040217")
