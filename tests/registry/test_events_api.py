import uuid

import pytest

from registry.models import InteractionEvent, MobileApp
from tests.conftest import Api

TRACKING = "7d3f3c1e-8f5c-4c0b-9c3a-2f1f0a7f5b11"


def event(**fields: object) -> dict[str, object]:
    return {"installation_id": "phone-1", "tracking_id": TRACKING, "status": "opened", **fields}


def test_an_event_of_a_known_device_is_kept_to_be_relayed(mobile: Api) -> None:
    mobile.launch()
    response = mobile.post("events", event(occurred_at="2026-01-02T03:04:05Z", message_id="m-1"))
    assert (response.status_code, response.json()) == (202, {"accepted": 1})
    row = InteractionEvent.objects.get()
    assert (row.state, row.token, row.tracking_id) == ("ready", "token-1", uuid.UUID(TRACKING))
    assert row.occurred_at.isoformat() == "2026-01-02T03:04:05+00:00"


def test_an_array_is_kept_whole(mobile: Api) -> None:
    mobile.launch()
    events = [event(tracking_id=str(uuid.uuid4())) for _ in range(100)]
    assert mobile.post("events", events).json() == {"accepted": 100}
    assert InteractionEvent.objects.filter(state="ready").count() == 100


def test_a_device_can_be_named_by_its_token(mobile: Api) -> None:
    mobile.launch(platform="ios", token="ABCDEF12")
    body = event(token="ABCDEF12")
    del body["installation_id"]
    mobile.post("events", body)
    row = InteractionEvent.objects.get()
    assert row.device is not None
    assert (row.state, row.token) == ("ready", "abcdef12")


def test_repeats_are_accepted_and_kept_once(mobile: Api) -> None:
    mobile.launch()
    for _ in range(2):
        assert mobile.post("events", event()).status_code == 202
        assert mobile.post("events", event(message_id="m-1", tracking_id=str(uuid.uuid4()))).status_code == 202
    assert InteractionEvent.objects.count() == 2


@pytest.mark.parametrize("tracking_id", ["", None, "00000000-0000-0000-0000-000000000000"])
def test_a_test_send_is_kept_and_not_relayed(mobile: Api, tracking_id: str | None) -> None:
    mobile.launch()
    assert mobile.post("events", event(tracking_id=tracking_id)).status_code == 202
    row = InteractionEvent.objects.get()
    assert (row.state, row.reason, row.due_at) == ("not_relayed", "test_send", None)


def test_without_tracking_consent_nothing_is_relayed(server: Api) -> None:
    server.launch(user={"id": "anna", "tracking_consent": False})
    server.post("events", event())
    assert InteractionEvent.objects.get().reason == "no_tracking_consent"


def test_an_unknown_device_is_noted(mobile: Api) -> None:
    mobile.post("events", event())
    assert InteractionEvent.objects.get().reason == "unknown_device"


def test_another_apps_device_is_unknown(mobile: Api, app: MobileApp, server: Api) -> None:
    server.launch(installation_id="token-1", token="other")
    body = event(token="token-1")
    del body["installation_id"]
    mobile.post("events", body)
    assert InteractionEvent.objects.get().reason == "unknown_device"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (event(status="closed"), "status"),
        (event(tracking_id="x"), "tracking_id"),
        (event(token="t"), "installation_id"),
        ({"tracking_id": TRACKING, "status": "opened"}, "installation_id"),
        ([event(), event(status=1)], "[1].status"),
        ([], "body"),
        ([event()] * 101, "body"),
        ("opened", "body"),
    ],
)
def test_bad_events_are_named_and_none_is_kept(mobile: Api, body: object, field: str) -> None:
    mobile.launch()
    response = mobile.post("events", body)
    assert response.status_code == 400
    assert field in [error["field"] for error in response.json()["errors"]]
    assert InteractionEvent.objects.count() == 0
