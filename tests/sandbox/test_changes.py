"""Learning what changed in a table."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from sandbox.admin_client import SandboxAdmin
from tests.sandbox.process import Running, https
from tests.sandbox.test_dataverse import Reader
from tests.sandbox.test_entra import ask

TRACK = {"Prefer": "odata.track-changes,odata.maxpagesize=3"}


@pytest.fixture
def reader(running: Running, client: httpx2.Client) -> Reader:
    return Reader(client, ask(running, client).json()["access_token"])


def read(reader: Reader, link: str = "contacts?$select=contactid,statecode") -> tuple[list[dict[str, Any]], str]:
    """Follow the pages to their end; return all rows, and the link that asks for what changes from now on."""
    rows: list[dict[str, Any]] = []
    while True:
        answer = reader.get(link, TRACK)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["value"]) <= 3
        rows += page["value"]
        if "@odata.deltaLink" in page:
            assert "@odata.nextLink" not in page
            return rows, str(page["@odata.deltaLink"])
        link = page["@odata.nextLink"]


def test_the_first_reading_returns_every_row_and_a_delta_link(reader: Reader, admin: SandboxAdmin) -> None:
    ids = admin.add_records("contacts", [{"fullname": "Anna"}] * 7)
    page = reader.get("contacts?$select=contactid", TRACK)
    assert page.headers["preference-applied"] == "odata.track-changes,odata.maxpagesize=3"
    rows, link = read(reader)
    assert {row["contactid"] for row in rows} == set(ids)
    assert "$deltatoken=" in link
    assert read(reader, link)[0] == []


def test_a_delta_link_tells_of_new_changed_and_deleted_rows_once(reader: Reader, admin: SandboxAdmin) -> None:
    kept, changed, gone = admin.add_records("contacts", [{"fullname": "Anna"}] * 3)
    _, link = read(reader)
    admin.patch_record("contacts", changed, statecode=1)
    admin.delete_record("contacts", gone)
    new = admin.add_records("contacts", [{}] * 4)
    rows, following = read(reader, link)
    deleted = rows.pop()
    assert deleted["@odata.context"].endswith("$metadata#contacts/$deletedEntity")
    assert (deleted["id"], deleted["reason"]) == (gone, "deleted")
    assert [row["contactid"] for row in rows] == [changed, *new]
    assert rows[0]["statecode"] == 1
    assert kept not in {row["contactid"] for row in rows}
    assert read(reader, following)[0] == []
    assert read(reader, link)[0] == [*rows, deleted]  # the old link still tells of the same


def test_what_changes_between_two_pages_comes_with_the_next_delta(reader: Reader, admin: SandboxAdmin) -> None:
    ids = admin.add_records("contacts", [{}] * 4)
    page = reader.get("contacts?$select=contactid", TRACK).json()
    admin.patch_record("contacts", ids[0], statecode=1)
    admin.delete_record("contacts", ids[3])
    rest, link = read(reader, page["@odata.nextLink"])
    assert rest == []
    changed, deleted = read(reader, link)[0]
    assert (changed["contactid"], deleted["id"]) == (ids[0], ids[3])


def test_a_row_made_and_deleted_meanwhile_is_told_of_as_deleted(reader: Reader, admin: SandboxAdmin) -> None:
    _, link = read(reader)
    [row] = admin.add_records("contacts", [{}])
    admin.delete_record("contacts", row)
    assert [change["id"] for change in read(reader, link)[0]] == [row]
    admin.add_records("contacts", [{"contactid": row}])
    assert [change["contactid"] for change in read(reader, link)[0]] == [row]


@pytest.mark.parametrize("option", ["filter", "orderby", "expand", "top"])
def test_options_that_change_tracking_does_not_support_are_refused(reader: Reader, option: str) -> None:
    answer = reader.get("contacts", TRACK, **{option: "1"})
    assert answer.status_code == 400
    said = f'The "${option}" query parameter isn\'t supported when Change Tracking is enabled.'
    assert answer.json()["error"]["message"] == said


@pytest.mark.parametrize(
    "token", ["$deltatoken=abc", "$deltatoken=9999!08/22/2017 08:10:44", "$deltatoken=0!", "$skiptoken=abc"]
)
def test_a_token_that_was_not_given_out_is_refused(reader: Reader, token: str) -> None:
    answer = reader.get(f"contacts?{token}", TRACK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "0x80060888")


def test_a_delta_link_expires(reader: Reader, admin: SandboxAdmin) -> None:
    _, link = read(reader)
    admin.settings(delta_lifetime=0)
    answer = reader.get(link)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "0x80044352")
    assert read(reader)[0] == []  # a reading from the beginning goes on


@pytest.mark.parametrize(("how", "status", "code"), [("refused", 400, "0x80060888"), ("denied", 403, "0x80040220")])
def test_tracking_can_be_off_or_denied(reader: Reader, admin: SandboxAdmin, how: str, status: int, code: str) -> None:
    admin.settings(change_tracking=how)
    answer = reader.get("leads", TRACK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert reader.get("leads").status_code == 200


def test_a_preference_that_is_ignored_brings_no_delta_link(reader: Reader, admin: SandboxAdmin) -> None:
    admin.settings(change_tracking="ignored")
    answer = reader.get("leads", TRACK)
    assert "odata.track-changes" not in answer.headers.get("preference-applied", "")
    assert set(answer.json()) == {"@odata.context", "value"}


def test_readings_of_changes_are_calls_of_their_own(reader: Reader, admin: SandboxAdmin) -> None:
    admin.add_fault("changes", status=429, headers={"Retry-After": "7"})
    assert reader.get("contacts").status_code == 200
    assert reader.get("contacts", TRACK).status_code == 429
    read(reader)
    assert [call.status for call in admin.calls("changes")] == [429, 200]


def test_a_delta_link_outlives_a_restart(tmp_path: Path) -> None:
    with Running(tmp_path) as first, first.admin() as admin, https(first.details) as client:
        [gone] = admin.add_records("contacts", [{}])
        reader = Reader(client, ask(first, client).json()["access_token"])
        _, link = read(reader)
        admin.delete_record("contacts", gone)
        port = first.details["url"].rpartition(":")[2]
        assert first.stop() == 0
    with Running(tmp_path, "--port", port) as second, https(second.details) as client:
        reader = Reader(client, ask(second, client).json()["access_token"])
        assert [change["id"] for change in read(reader, link)[0]] == [gone]
