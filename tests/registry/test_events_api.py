import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from registry.models import Device, EventMark, InteractionEvent, MobileApp
from registry.services.purge import purge
from tests.conftest import Api
from tests.races import in_parallel, uncommitted

TRACKING = "7d3f3c1e-8f5c-4c0b-9c3a-2f1f0a7f5b11"


def event(**fields: object) -> dict[str, object]:
    return {"installation_id": "phone-1", "tracking_id": TRACKING, "status": "opened", **fields}


@pytest.fixture
def secured(app: MobileApp, mobile: Api) -> Api:
    """Phones of an app whose installations have secrets."""
    assert app.installation_secrets
    return mobile


def results(answer: Any) -> list[str]:
    assert answer.status_code == 202, answer.content
    return [result["result"] for result in answer.json()["results"]]


def test_an_event_of_a_known_device_is_kept_to_be_relayed(mobile: Api) -> None:
    mobile.launch()
    yesterday = timezone.now() - timedelta(days=1)
    response = mobile.post("events", event(occurred_at=yesterday.isoformat(), message_id="m-1"))
    assert (response.status_code, response.json()) == (202, {"results": [{"result": "accepted"}]})
    row = InteractionEvent.objects.get()
    assert (row.state, row.token, row.tracking_id) == ("ready", "token-1", uuid.UUID(TRACKING))
    assert row.occurred_at == yesterday


def test_an_array_is_kept_whole(mobile: Api) -> None:
    mobile.launch()
    events = [event(tracking_id=str(uuid.uuid4())) for _ in range(100)]
    assert mobile.post("events", events).json() == {"results": [{"result": "accepted"}] * 100}
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
    for result in ("accepted", "duplicate"):
        assert results(mobile.post("events", event())) == [result]
        assert results(mobile.post("events", event(message_id="m-1", tracking_id=str(uuid.uuid4())))) == [result]
    assert InteractionEvent.objects.count() == 2


def test_of_repeats_in_one_array_the_first_is_kept(mobile: Api) -> None:
    mobile.launch()
    events = [event(message_id="m-1"), event(), event(message_id="m-1", tracking_id=str(uuid.uuid4()))]
    assert results(mobile.post("events", events)) == ["accepted", "duplicate", "duplicate"]


@pytest.mark.parametrize("at_once", [True, False])
def test_what_a_repeat_brings_along_does_not_count_as_seen(mobile: Api, at_once: bool) -> None:
    """Repeated by its message id, with another tracking id: an event with that one was never kept."""
    mobile.launch()
    other = str(uuid.uuid4())
    events = [event(message_id="m-1"), event(message_id="m-1", tracking_id=other), event(tracking_id=other)]
    bodies = [events] if at_once else [[body] for body in events]
    found = [result for body in bodies for result in results(mobile.post("events", body))]
    assert found == ["accepted", "duplicate", "accepted"]


@pytest.mark.django_db(transaction=True)
def test_repeats_in_parallel_are_kept_once(mobile: Api) -> None:
    mobile.launch()
    answers: list[list[str]] = []

    def post(number: int) -> None:
        again = [event(tracking_id=str(uuid.UUID(int=which + 1)), message_id=f"m-{which}") for which in range(20)]
        answers.append(results(mobile.post("events", again if number % 2 else again[::-1])))

    assert in_parallel(6, post) == []
    assert sum(answer.count("accepted") for answer in answers) == 20
    assert InteractionEvent.objects.count() == 20


@pytest.mark.django_db(transaction=True)
def test_a_repeat_waits_until_the_first_is_there(mobile: Api) -> None:
    mobile.launch()
    with uncommitted(lambda: mobile.post("events", event())):
        assert results(mobile.post("events", event())) == ["duplicate"]
    assert InteractionEvent.objects.count() == 1


def test_a_repeat_is_known_in_another_partition_for_as_long_as_the_setting_says(mobile: Api) -> None:
    mobile.launch()
    mobile.post("events", event())
    InteractionEvent.objects.update(received_at=timezone.now() - timedelta(days=29))
    EventMark.objects.update(made_at=timezone.now() - timedelta(days=29))
    purge()
    assert results(mobile.post("events", event())) == ["duplicate"]
    EventMark.objects.update(made_at=timezone.now() - timedelta(days=31))
    purge()
    assert results(mobile.post("events", event())) == ["accepted"]


def test_an_array_is_one_insert(mobile: Api) -> None:
    mobile.launch()
    with CaptureQueriesContext(connection) as queries:
        mobile.post("events", [event(tracking_id=str(uuid.uuid4())) for _ in range(100)])
    statements = [query["sql"] for query in queries if "registry_interactionevent" in query["sql"]]
    assert len(statements) == 1
    assert len(queries) <= 12


def test_a_repeat_of_an_unknown_device_is_kept_once_and_counts_when_the_device_is_known(mobile: Api) -> None:
    assert results(mobile.post("events", [event(), event()])) == ["accepted", "duplicate"]
    mobile.launch()
    assert results(mobile.post("events", event())) == ["accepted"]
    assert list(InteractionEvent.objects.order_by("pk").values_list("state", flat=True)) == ["not_relayed", "ready"]


@pytest.mark.django_db(transaction=True)
def test_the_device_that_is_deleted_meanwhile_is_unknown(mobile: Api) -> None:
    mobile.launch()
    with uncommitted(lambda: Device.objects.all().delete()):
        assert results(mobile.post("events", event())) == ["accepted"]
    row = InteractionEvent.objects.get()
    assert (row.device, row.token, row.state, row.reason) == (None, "", "not_relayed", "unknown_device")


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


def test_in_an_array_a_bad_event_costs_only_itself(mobile: Api) -> None:
    mobile.launch()
    other = str(uuid.uuid4())
    answer = mobile.post("events", [event(), event(status=1), "nonsense", event(), event(tracking_id=other)])
    assert results(answer) == ["accepted", "error", "error", "duplicate", "accepted"]
    assert answer.json()["results"][1]["errors"] == [{"field": "status", "detail": '"1" is not a valid choice.'}]
    assert InteractionEvent.objects.count() == 2


def test_two_phones_may_number_their_messages_alike(mobile: Api) -> None:
    mobile.launch()
    mobile.launch(installation_id="phone-2", token="token-2")
    for name in ("phone-1", "phone-2"):
        body = event(installation_id=name, message_id="1", tracking_id=str(uuid.uuid4()))
        secret = {"Installation-Secret": mobile.secrets[name]}
        assert results(mobile.client.post("/api/v1/events", body, format="json", headers=secret)) == ["accepted"]
    assert InteractionEvent.objects.count() == 2


def test_an_event_from_the_future_happened_now(mobile: Api) -> None:
    mobile.launch()
    assert results(mobile.post("events", event(occurred_at="2999-01-01T00:00:00Z"))) == ["accepted"]
    row = InteractionEvent.objects.get()
    assert row.state == "ready"
    assert timezone.now() - row.occurred_at < timedelta(minutes=1)


@pytest.mark.parametrize("long_ago", ["0001-01-01T00:00:00+04:12", "2026-01-01T00:00:00Z"])
def test_an_event_of_long_ago_is_kept_and_not_relayed(mobile: Api, long_ago: str) -> None:
    mobile.launch()
    assert results(mobile.post("events", event(occurred_at=long_ago))) == ["accepted"]
    row = InteractionEvent.objects.get()
    assert (row.state, row.reason) == ("not_relayed", "too_old")


def test_an_event_of_a_secured_installation_needs_its_secret(secured: Api) -> None:
    secured.launch()
    for secret in ("", "thub_ins_wrong"):
        headers = {"Installation-Secret": secret} if secret else {}
        answer = secured.client.post("/api/v1/events", [event(), event()], format="json", headers=headers)
        assert results(answer) == ["error", "error"]
        assert answer.json()["results"][0]["errors"][0]["field"] == "installation_id"
        alone = secured.client.post("/api/v1/events", event(), format="json", headers=headers)
        assert (alone.status_code, alone.json()["type"]) == (403, "urn:tokenhub:problem:installation-secret")
    assert not InteractionEvent.objects.exists()
    headers = {"Installation-Secret": secured.secrets["phone-1"]}
    answer = secured.client.post("/api/v1/events", event(), format="json", headers=headers)
    assert results(answer) == ["accepted"]


def test_who_has_the_push_token_needs_no_secret(secured: Api) -> None:
    secured.launch()
    body = {"token": "token-1", "tracking_id": TRACKING, "status": "opened"}
    assert results(secured.client.post("/api/v1/events", body, format="json")) == ["accepted"]


def test_a_server_needs_no_secret(secured: Api, server: Api) -> None:
    secured.launch()
    assert results(server.post("events", event())) == ["accepted"]
