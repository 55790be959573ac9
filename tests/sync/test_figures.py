"""The dashboard: figures that workers keep, of the apps that one sees, and no count of a table by the page."""

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from registry.models import (
    DataverseMapping,
    DayFigures,
    Device,
    EventCount,
    HistoryEntry,
    InteractionEvent,
    MobileApp,
    RegisteredDevices,
    Registration,
)
from registry.services import clock
from registry.services.figures import percentile
from registry.services.keys import create_key
from sync.steps import figures
from tests.conftest import Api
from tests.people import signed_in, staff

pytestmark = pytest.mark.django_db
EARLIER = timedelta(minutes=1)  # the youngest entries of the history are left for later


def launched(api: Api, name: str, platform: str = "android") -> Device:
    token = f"token-of-{name}" if platform == "android" else name.encode().hex().ljust(64, "0")
    api.launch(installation_id=f"phone-of-{name}", platform=platform, token=token, user={"id": name})
    return Device.objects.get(installation_id=f"phone-of-{name}")


def register(device: Device, state: str, seconds: float = 0) -> None:
    """What the workers write, and how long after the launch."""
    HistoryEntry.objects.filter(device=device).update(at=F("at") - timedelta(seconds=seconds))
    row = Registration.objects.create(
        app=device.app, device=device, table="contact", dataverse_id=f"00000000-0000-4000-8000-{device.pk:012d}",
        platform=device.platform, token=device.token, token_hash=device.token_hash, state="sent",
    )  # fmt: skip
    Registration.objects.filter(pk=row.pk).update(state=state)
    DataverseMapping.objects.filter(user=device.user_id).update(state="mapped", due_at=None)


def rolled_up() -> None:
    HistoryEntry.objects.update(at=F("at") - EARLIER)
    while figures.run_batch():
        pass


@pytest.fixture
def fleet(app: MobileApp, server: Api) -> list[Device]:
    """Four of whom two are registered, one is refused, and one has no record; one has opened a message."""
    devices = [
        launched(server, "anna"),
        launched(server, "bert", "ios"),
        launched(server, "cleo"),
        launched(server, "dora"),
    ]
    register(devices[0], "registered", seconds=4)
    register(devices[1], "registered", seconds=50)
    register(devices[2], "failed")
    DataverseMapping.objects.filter(user=devices[3].user_id).update(state="not_found")
    for state in ("relayed", "relayed", "ready"):
        InteractionEvent.objects.create(
            app=app, device=devices[0], status="Opened", occurred_at=devices[0].created_at, state=state
        )
    EventCount.objects.create(app=app, day=devices[0].created_at.date(), accepted=3, relayed=2)
    return devices


def test_what_is_there_is_counted(app: MobileApp, server: Api, fleet: list[Device]) -> None:
    server.launch(installation_id="phone-of-cleo", token="another-token-of-cleo", user={"id": "cleo"})
    rolled_up()
    day = DayFigures.objects.latest("counted_at")
    assert (day.devices, day.users, day.mapped, day.registered_users, day.opened) == (4, 4, 3, 2, 1)
    registered = {"android:registered": 1, "ios:registered": 1, "android:failed": 1}
    assert day.registrations == registered | {"android:living": 3, "ios:living": 1}
    days = DayFigures.objects.all()
    assert sum(row.new_devices for row in days) == 4
    assert sum(row.token_changes for row in days) == 1
    assert [row.waits for row in days if row.waits] == [{"5": 1, "60": 1}]


def test_the_history_is_added_up_once_and_the_tables_now_and_then(
    app: MobileApp, server: Api, fleet: list[Device], settings: Settings
) -> None:
    rolled_up()
    before = list(DayFigures.objects.values())
    while figures.run_batch():
        pass
    assert list(DayFigures.objects.values()) == before
    launched(server, "emil")
    rolled_up()
    assert sum(row.new_devices for row in DayFigures.objects.all()) == 5
    assert DayFigures.objects.latest("counted_at").devices == 4, "not counted again so soon"
    settings.TOKENHUB_FIGURES_PERIOD = timedelta(0)
    rolled_up()
    assert DayFigures.objects.latest("counted_at").devices == 5


def test_a_registration_that_is_confirmed_again_is_no_wait(app: MobileApp, fleet: list[Device]) -> None:
    rolled_up()
    rows = Registration.objects.filter(device=fleet[0])
    rows.update(state="sent")
    rows.update(state="registered")
    rolled_up()
    assert sum(sum(row.waits.values()) for row in DayFigures.objects.all()) == 2


def glance(client: Client, query: str = "") -> str:
    text = client.get(f"/admin/{query}").content.decode()
    return " ".join(re.sub("<[^>]+>", " ", text).split())


def test_the_page_tells_it_of_the_apps_that_one_sees(fleet: list[Device], make_app: Callable[..., MobileApp]) -> None:
    bank = make_app("bank")
    register(launched(Api(create_key(app=bank, kind="server")), "otto"), "registered")
    rolled_up()
    olga = signed_in(staff("olga", "viewer", apps=["shop"]))
    text = glance(olga)
    assert "Devices 4 Registered 66.7 % 1 failed" in text
    assert "Users 4 Mapped to a record 3 75.0 % Registered 2 50.0 % Opened a message in 7 days 1 25.0 %" in text
    assert "95 % within" in text
    assert "bank" not in text
    chief = signed_in(staff("vera", "viewer"))
    assert "Devices 5 Registered 75.0 %" in glance(chief)
    assert "Devices 1 Registered 100.0 %" in glance(chief, "?app=bank")
    assert "Devices 4" in glance(olga, "?app=bank"), "what one does not see is not chosen"
    links = chief.get("/admin/?app=shop").content.decode()
    assert f"?show=failed&amp;app={fleet[0].app_id}" in links, "what the figures of one app lead to is that app's"
    assert "/admin/unresolved/?app=shop" in links


def test_the_page_counts_nothing(fleet: list[Device]) -> None:
    rolled_up()
    client = signed_in(staff("vera", "viewer"))
    client.get("/admin/")
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/admin/").content.decode()
    for query in queries.captured_queries:
        for table in ("registry_device", "registry_mobileuser", "registry_historyentry"):
            # What waits for the planner is read from its index, up to a limit.
            assert f'FROM "{table}"' not in query["sql"] or " LIMIT " in query["sql"], query["sql"]
        assert "COUNT(" not in query["sql"] or "registry_erasure" in query["sql"] or "Unknown" in query["sql"], query[
            "sql"
        ]
    charts = [json.loads(chart.replace("&quot;", '"')) for chart in re.findall(r'data-value="([^"]+)"', page)]
    assert len(charts) == 5
    drawn = {bars["label"]: bars["data"] for bars in charts[0]["datasets"]}
    assert drawn == {"Registered": [1, 1], "On their way": [0, 0], "Failed": [0, 1], "Not to be registered": [0, 1]}
    assert sum(charts[-1]["datasets"][0]["data"]) == 2, "relayed events"
    for drawn in charts:
        assert all(len(dataset["data"]) == len(drawn["labels"]) for dataset in drawn["datasets"])


def test_before_the_first_app_the_page_says_what_to_do(db: None) -> None:
    first = glance(signed_in(staff("ada", "administrator")))
    assert "No app yet" in first
    assert "Connect an app" in first
    assert "Log entries" not in first  # the menu has the tables, by better names
    # Who may not connect one is not sent there.
    assert "Connect an app" not in glance(signed_in(staff("vera", "viewer")))


def test_before_the_first_count_the_page_says_so(app: MobileApp) -> None:
    assert "No figures yet" in glance(signed_in(staff("vera", "viewer")))
    assert "You see no app" in glance(signed_in(staff("paul", "viewer", apps=[])))


@pytest.mark.parametrize(
    ("waits", "share", "seconds"),
    [({}, 0.5, None), ({"5": 10}, 0.5, 4.0), ({"1": 95, "60": 5}, 0.95, 1.0), ({"more": 3}, 0.5, 86_400.0)],
)
def test_percentiles(waits: dict[str, int], share: float, seconds: float | None) -> None:
    assert percentile(waits, share) == seconds


def test_tables_are_counted_rarely_only_where_that_costs_something(
    app: MobileApp, server: Api, fleet: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = clock.now()
    rolled_up()
    monkeypatch.setattr(clock, "now", lambda: counted + timedelta(minutes=1))
    launched(server, "emil")
    figures.run_batch()
    assert DayFigures.objects.latest("counted_at").devices == 5
    assert RegisteredDevices.objects.get().counted_at == clock.now()
    monkeypatch.setattr("registry.services.recount.FEW", -1)
    launched(server, "fritz")
    monkeypatch.setattr(clock, "now", lambda: counted + timedelta(minutes=2))
    figures.run_batch()
    assert DayFigures.objects.latest("counted_at").devices == 5
    monkeypatch.setattr(clock, "now", lambda: counted + timedelta(minutes=17))
    figures.run_batch()
    assert DayFigures.objects.latest("counted_at").devices == 6
