"""Devices that another system knows, up to a thousand at a time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from registry.models import DataverseMapping, Device, MobileApp, MobileUser
from registry.services.keys import create_key
from tests.conftest import Api

pytestmark = pytest.mark.django_db


def row(number: int, **fields: Any) -> dict[str, Any]:
    user = {"id": f"user-{number}", "email": f"user{number}@example.com"}
    return {"installation_id": f"p{number}", "platform": "android", "token": f"t{number}", "user": user, **fields}


def post(api: Api, *rows: Any) -> Any:
    return api.post("devices/import", {"devices": list(rows)})


def results(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["result"] for row in answer.json()["results"]]


def test_new_devices_are_made_in_few_statements(
    server: Api, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(20):
        assert results(post(server, *[row(number) for number in range(200)])) == ["created"] * 200
    assert Device.objects.filter(user__isnull=False, planned_revision=0).count() == 200
    assert DataverseMapping.objects.filter(due_at__isnull=False).count() == 200
    assert server.get("devices/p7").json()["user"] == {"id": "user-7"}


def test_rows_are_found_by_index_however_small_the_tables_were(server: Api) -> None:
    """Foreign keys are checked by plans that the connection keeps, maybe of a time when there was one row."""
    post(server, row(0))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE registry_mobileuser, registry_device, registry_dataversemapping")
        cursor.execute("SET LOCAL enable_seqscan = on")  # as outside of this test's transaction
        before = sequential_scans()
        assert results(post(server, *[row(number) for number in range(1, 200)])) == ["created"] * 199
        connection.check_constraints()
        assert sequential_scans() - before <= 1  # who is known is asked once, by a plan of this moment


def sequential_scans() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'registry_mobileuser'")
        [(count,)] = cursor.fetchall()
    return int(count)


def test_no_parallel_workers_are_started_for_some_rows(server: Api) -> None:
    """Starting them takes longer than looking the rows up."""
    plans: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL debug_parallel_query = on")  # wherever it is possible
    with connection.execute_wrapper(partial(explained, plans)):
        assert results(post(server, row(1), row(2))) == ["created"] * 2
    locks = next(number for number, plan in enumerate(plans) if "pg_advisory_xact_lock" in plan)
    assert len(plans) > locks + 4
    assert not [plan for plan in plans[locks:] if "Gather" in plan]


def test_rows_of_an_app_that_the_statistics_do_not_know_are_found_by_their_own_index(
    server: Api, make_app: Callable[..., MobileApp]
) -> None:
    """PostgreSQL believes that it has none, and would read all of them for each batch."""
    post(Api(create_key(app=make_app(slug="older"), kind="server")), *[row(number) for number in range(300)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE registry_mobileuser, registry_device, registry_dataversemapping")
    post(server, *[row(number) for number in range(300)])
    plans: list[str] = []
    with connection.execute_wrapper(partial(explained, plans)):
        assert results(post(server, *[row(number) for number in range(300, 400)])) == ["created"] * 100
    own = ("device_app_installation_unique", "device_app_token_unique", "mobileuser_app_external_id_unique")
    assert [index for index in own if index in str(plans)] == list(own)
    assert "_list on " not in str(plans)


def explained(plans: list[str], execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """Runs a statement, and before it asks for its plan."""
    if sql.lstrip().startswith(("SELECT", "INSERT")):
        execute(f"EXPLAIN {sql}", params, many, context)
        plans.append("\n".join([sql, *(line for (line,) in context["cursor"].fetchall())]))
    return execute(sql, params, many, context)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"user": None},
        {"platform": "ios", "token": "AB", "sequence": 7, "app_version": "4.2", "locale": "de-DE"},
        {"user": {"id": "x", "phone": "+4930123456", "push_consent": False, "tracking_consent": False}},
        {"token": "\\{}\"',", "model": "é\\\"'{}, 漢", "time_zone": "Europe/Berlin", "os_version": ""},
    ],
)
def test_a_new_device_is_written_as_a_launch_writes_it(server: Api, fields: dict[str, Any]) -> None:
    """Many rows are written by statements of their own, a launch by another way."""
    MobileApp.objects.update(default_tracking_consent=False)
    assert server.post("devices", row(1, **fields)).status_code == 201
    launched = everything()
    Device.objects.all().delete()
    MobileUser.objects.all().delete()
    assert results(post(server, row(1, **fields), row(2))) == ["created", "created"]
    Device.objects.filter(installation_id="p2").delete()
    MobileUser.objects.filter(external_id="user-2").delete()
    assert everything() == launched


def everything() -> list[dict[str, Any]]:
    """Every column of what there is, but for ids and times, of which it is told whether they are there."""
    return [
        {
            name: value is not None if isinstance(value, datetime | UUID) or name in ("id", "user_id") else value
            for name, value in found.items()
        }
        for model in (Device, MobileUser, DataverseMapping)
        for found in model.objects.values()
    ]


def test_what_is_known_is_only_read(server: Api, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    rows = [row(number) for number in range(100)]
    post(server, *rows)
    with django_assert_num_queries(2):  # the key, and all devices with their users
        assert results(post(server, *rows)) == ["unchanged"] * 100


def test_a_bad_row_costs_only_itself(server: Api) -> None:
    answer = post(
        server, row(1), {**row(2), "token": ""}, "nonsense", {**row(3), "user": {"id": "x", "email": "y"}}, row(4)
    )
    assert results(answer) == ["created", "error", "error", "error", "created"]
    errors = [[error["field"] for error in row.get("errors", [])] for row in answer.json()["results"]]
    assert errors == [[], ["token"], ["body"], ["user.email"], []]
    assert Device.objects.count() == 2


def test_a_row_that_changes_something_goes_the_way_of_a_launch(server: Api) -> None:
    post(server, row(1))
    DataverseMapping.objects.update(due_at=None)
    changed = row(1, token="other", user={"id": "user-1", "email": "new@example.com"})
    assert results(post(server, changed)) == ["updated"]
    assert (Device.objects.get().token, MobileUser.objects.get().email) == ("other", "new@example.com")
    assert DataverseMapping.objects.get().due_at is not None


def test_of_two_rows_that_meet_the_later_counts(server: Api) -> None:
    same_installation = [row(1, token="a"), row(1, token="b")]
    same_token = [row(2, token="c"), row(3, token="c")]
    same_user = [
        row(4, user={"id": "u", "email": "old@example.com"}),
        row(5, user={"id": "u", "email": "new@example.com"}),
    ]
    told = results(post(server, *same_installation, *same_token, *same_user, row(6)))
    assert told == ["created", "updated", "created", "created", "created", "created", "created"]
    assert Device.objects.get(installation_id="p1").token == "b"
    assert Device.objects.get(token="c", retired_at=None).installation_id == "p3"
    assert MobileUser.objects.get(external_id="u").email == "new@example.com"


def test_two_devices_of_one_user_are_made_at_once(server: Api) -> None:
    anna = {"id": "anna", "phone": "+4930123456"}
    assert results(post(server, row(1, user=anna), row(2, user=anna))) == ["created", "created"]
    assert MobileUser.objects.get().devices.count() == 2


def test_a_token_that_another_installation_holds_moves(server: Api) -> None:
    server.launch(installation_id="old", token="t1")
    assert results(post(server, row(1))) == ["created"]
    assert server.state("old") == "retired"


def test_a_user_who_is_known_otherwise_is_changed(server: Api) -> None:
    server.launch(user={"id": "user-1", "email": "before@example.com"})
    DataverseMapping.objects.update(due_at=None)
    assert results(post(server, row(1))) == ["created"]
    assert MobileUser.objects.get().email == "user1@example.com"
    assert DataverseMapping.objects.get().due_at is not None


def test_what_the_phone_told_since_is_not_overwritten(server: Api) -> None:
    server.launch(installation_id="p1", token="newer", user={"id": "bert"})
    old = (timezone.now() - timedelta(days=3)).isoformat()
    assert results(post(server, row(1, last_seen=old), row(2, last_seen=old))) == ["stale", "created"]
    known = Device.objects.get(installation_id="p1")
    assert (known.token, known.user and known.user.external_id) == ("newer", "bert")
    assert timezone.now() - Device.objects.get(installation_id="p2").last_seen > timedelta(days=2)


def test_a_token_stays_with_the_phone_that_was_here_since(server: Api) -> None:
    server.launch(installation_id="newer", token="t1")
    old = (timezone.now() - timedelta(days=3)).isoformat()
    assert results(post(server, row(1, last_seen=old))) == ["stale"]
    assert Device.objects.get().installation_id == "newer"


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("0001-01-01T00:00:00+04:12", datetime(1, 1, 1, tzinfo=UTC)),
        ("2020-02-29T12:00:00+01:00", datetime(2020, 2, 29, 11, tzinfo=UTC)),
    ],
)
def test_any_time_that_is_past_is_taken(server: Api, text: str, taken: datetime) -> None:
    assert results(post(server, row(1, last_seen=text))) == ["created"]
    assert Device.objects.get().last_seen == taken


@pytest.mark.parametrize("text", ["2999-01-01T00:00:00Z", "9999-12-31T23:59:59-23:00"])
def test_what_is_yet_to_come_is_now(server: Api, text: str) -> None:
    assert results(post(server, row(1, last_seen=text))) == ["created"]
    assert abs(timezone.now() - Device.objects.get().last_seen) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["yesterday", "2026-11-24", "2026-11-24T08:00:00", 5, None])
def test_a_time_has_its_offset(server: Api, text: Any) -> None:
    answer = post(server, row(1, last_seen=text))
    assert answer.json()["results"][0]["errors"][0]["field"] == "last_seen"


def test_a_user_keeps_within_the_app_s_limit(server: Api) -> None:
    MobileApp.objects.update(max_devices_per_user=2)
    anna = {"id": "anna"}
    assert results(post(server, *[row(number, user=anna) for number in range(4)])) == ["created"] * 4
    assert Device.objects.filter(retired_at=None).count() == 2


def test_the_first_phone_that_posts_an_imported_device_secures_it(server: Api, mobile: Api) -> None:
    post(server, row(1))
    assert "installation_secret" in mobile.launch(installation_id="p1", token="t1").json()


@pytest.mark.parametrize("body", [{}, {"devices": []}, {"devices": [{}] * 1001}, [], {"devices": [], "x": 1}])
def test_a_call_holds_1_to_1000_rows(server: Api, body: Any) -> None:
    answer = server.post("devices/import", body)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:tokenhub:problem:invalid-request")


def test_a_thousand_long_rows_fit_into_a_call(server: Api) -> None:
    long = [
        row(number, token=f"{number:0300}", model="x" * 128, user={"id": f"{number:0255}"}) for number in range(1000)
    ]
    assert results(post(server, *long)) == ["created"] * 1000


def test_a_mobile_key_imports_nothing(mobile: Api) -> None:
    assert post(mobile, row(1)).status_code == 403
