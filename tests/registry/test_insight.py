"""Opens by day and by message: in the admin and over the server API, read from sums."""

import csv
import io
import uuid
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from registry.models import EventCount, MobileApp, RegisteredDevices
from registry.services import purge
from registry.services.event_counts import fold
from registry.services.keys import create_key
from registry.states import KeyKind
from tests.conftest import Api
from tests.people import signed_in, staff

MESSAGE, OTHER = str(uuid.uuid4()), str(uuid.uuid4())


@pytest.fixture
def server(app: MobileApp) -> Api:
    return Api(create_key(app=app, kind=KeyKind.SERVER))


@pytest.fixture
def today() -> date:
    return timezone.now().date()


@pytest.fixture
def opened(app: MobileApp, server: Api, today: date) -> None:
    """Three phones opened one message, one of them another one; one without consent; one that nobody knows."""
    for number in range(4):
        server.launch(
            installation_id=f"phone-{number}",
            token=f"token-{number}",
            user={"id": f"user-{number}", "tracking_consent": number != 3},
        )
    events = [{"installation_id": f"phone-{number}", "tracking_id": MESSAGE, "status": "opened"} for number in range(3)]
    events += [{"installation_id": "phone-0", "tracking_id": OTHER, "status": "opened"}]
    events += [{"installation_id": "phone-3", "tracking_id": OTHER, "status": "opened"}]
    events += [{"installation_id": "nobody", "tracking_id": OTHER, "status": "opened"}]
    events += [{"installation_id": "phone-0", "tracking_id": "", "status": "opened"}]
    assert server.post("events", events).status_code == 202
    assert server.post("events", events[:2]).json()["results"] == [{"result": "duplicate"}] * 2
    while fold():
        pass
    RegisteredDevices.objects.create(app=app, day=today, devices=10)


@pytest.mark.usefixtures("opened")
def test_a_day_says_what_was_opened_and_why_what_is_not_relayed(server: Api, today: date) -> None:
    (day,) = server.get("insight/days").json()
    assert day == {
        "day": today.isoformat(),
        "opened": 5,
        "relayed": 0,
        "waiting": 4,
        "failed": 0,
        "discarded": 0,
        "no_consent": 1,
        "too_old": 0,
        "unknown_device": 1,
        "test_send": 1,
        "registered_devices": 10,
        "open_rate": 0.5,
    }


@pytest.mark.usefixtures("opened")
def test_messages_are_told_apart_by_their_tracking_id(server: Api) -> None:
    found = server.get("insight/messages").json()
    assert [(row["tracking_id"], row["opened"], row["open_rate"]) for row in found] == [
        (MESSAGE, 3, 0.3),
        (OTHER, 2, 0.2),
    ]


@pytest.mark.usefixtures("opened")
def test_files_hold_what_the_json_holds(server: Api) -> None:
    for name in ("days", "messages"):
        answer = server.get(f"insight/{name}.csv")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        lines = list(csv.DictReader(io.StringIO(answer.content.decode())))
        told = server.get(f"insight/{name}").json()
        assert lines == [{key: "" if value is None else str(value) for key, value in row.items()} for row in told]


@pytest.mark.usefixtures("opened")
def test_other_days_and_other_apps_are_not_told(server: Api, today: date, make_app: Callable[..., MobileApp]) -> None:
    tomorrow = today + timedelta(days=1)
    assert server.get(f"insight/days?since={tomorrow}&until={tomorrow}").json() == []
    assert Api(create_key(app=make_app("bank"), kind=KeyKind.SERVER)).get("insight/days").json() == []


def test_a_wrong_day_is_refused_and_phones_may_not_ask(app: MobileApp, server: Api) -> None:
    assert server.get("insight/days?since=yesterday").status_code == 400
    assert server.get("insight/days?until=0001-01-01").json() == []
    for name in ("days", "days.csv", "messages", "messages.csv"):
        answer = server.get(f"insight/{name}?since=2026-02-02&until=2026-02-01")
        assert (answer.status_code, answer.json()["errors"]) == (400, [{"field": "since", "detail": "is after until."}])
        twice = server.get(f"insight/{name}?since=2026-02-02&since=2026-02-01")
        assert (twice.status_code, twice.json()["errors"]) == (400, [{"field": "since", "detail": "is there twice."}])
    assert Api(create_key(app=app, kind=KeyKind.MOBILE)).get("insight/days").status_code == 403


@pytest.mark.usefixtures("opened")
def test_the_page_shows_both_tables_and_reads_no_events() -> None:
    viewer = signed_in(staff("vera", "viewer"))
    with CaptureQueriesContext(connection) as asked:
        page = viewer.get("/admin/opens/").content.decode()
    assert MESSAGE in page
    assert "50.0 %" in page
    assert not [query for query in asked.captured_queries if "registry_interactionevent" in query["sql"]]
    answer = viewer.get("/admin/opens/?app=shop&file=messages")
    assert answer.content.decode().splitlines()[1].startswith(MESSAGE)


@pytest.mark.usefixtures("opened")
def test_sums_go_after_their_time_and_not_while_an_event_waits(settings: Settings) -> None:
    fold()
    EventCount.objects.update(day=timezone.now().date() - timedelta(days=10))
    RegisteredDevices.objects.update(day=timezone.now().date() - timedelta(days=10))
    settings.TOKENHUB_PURGE_EVENT_COUNTS = timedelta(days=11)
    purge.purge()
    before = EventCount.objects.count()
    waiting = EventCount.objects.exclude(waiting=0).count()
    assert RegisteredDevices.objects.exists()
    assert 0 < waiting < before
    settings.TOKENHUB_PURGE_EVENT_COUNTS = timedelta(days=9)
    purge.purge()
    assert EventCount.objects.count() == waiting
    assert not RegisteredDevices.objects.exists()


@pytest.mark.usefixtures("opened")
def test_who_sees_no_app_sees_no_opens() -> None:
    page = signed_in(staff("nina", "viewer", apps=[])).get("/admin/opens/?app=shop").content.decode()
    assert MESSAGE not in page
    assert signed_in(staff("otto")).get("/admin/opens/").status_code == 403
