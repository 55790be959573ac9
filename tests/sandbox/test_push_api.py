"""Registering, asking, cleaning up, and events."""

import time
import uuid
from typing import Any

import pytest

from sandbox.admin_client import SandboxAdmin
from tests.sandbox.process import TRACKED, Push

# Fixed, since they stand in the names of tests, which the processes of a parallel run must agree on.
USER = "5b1c1d2e-90f2-4f3a-8d57-6a1f6f0a1c11"
NOBODY = "0d9c1b7a-3c55-4a27-9b65-1f7f3f4f2c22"


def test_what_is_accepted_takes_effect_later(push: Push, admin: SandboxAdmin) -> None:
    admin.settings(processing_delay=0.3)
    answer = push.post("devices", push.device(user=USER.upper()), TRACKED)
    assert answer.status_code == 202
    request_id = answer.json()["RegistrationRequestId"]
    assert push.held() == set()
    assert push.ask(request_id) == [("Pending", None)]
    admin.wait_until_idle()
    assert push.held() == {(USER, "token-1")}
    assert push.ask(request_id) == [("Success", None)]
    [call] = admin.calls("register")
    [effect] = admin.effects()
    assert effect.call_seq == call.seq
    assert effect.seq > call.seq
    assert effect.at - call.at == pytest.approx(0.3)


def test_an_untracked_request_is_answered_with_nothing(push: Push, admin: SandboxAdmin) -> None:
    answer = push.post("devices", push.device(user=USER))
    assert (answer.status_code, answer.content) == (202, b"")
    assert push.register(push.device("token-2", USER), headers={}) == []
    admin.wait_until_idle()
    assert push.held() == {(USER, "token-1"), (USER, "token-2")}


def test_a_batch_is_answered_in_its_order(push: Push, admin: SandboxAdmin) -> None:
    admin.set_outcomes({"token-50": "FailedToStoreDevice"})
    ids = push.register(*[push.device(f"token-{number}") for number in range(100)])
    admin.wait_until_idle()
    assert [index for index, outcome in enumerate(push.ask(*ids)) if outcome[0] == "Failed"] == [50]
    assert len(push.held()) == 99
    [call] = admin.calls("register_batch")
    assert [token for _, token in call.items] == [f"token-{number}" for number in range(100)]


@pytest.mark.parametrize(
    "changes",
    [
        {"Platform": "android"},
        {"userId": USER},
        {"UserId": None},
        {"UserId": "not-a-guid"},
        {"UserId": USER.replace("-", "")},
        {"UserId": "{" + USER + "}"},
        {"MobileAppId": "x"},
        {"MobileAppId": NOBODY},
        {"ApiToken": ""},
        {"ApiToken": 5},
        {"FcmDeviceToken": ""},
        {"FcmDeviceToken": None},
        {"ApnsDeviceToken": "ab" * 32},
        {"FcmDeviceToken": ..., "ApnsDeviceToken": "xyz"},
        {"FcmDeviceToken": ..., "ApnsDeviceToken": "ab" * 33},
        {"FcmDeviceToken": ...},
        {"UserId": ...},
        {"MobileAppId": ...},
        {"ApiToken": ...},
    ],
    ids=str,
)
def test_a_registration_that_is_not_as_documented_is_refused(push: Push, changes: dict[str, Any]) -> None:
    body = {name: value for name, value in (push.device(user=USER) | changes).items() if value is not ...}
    assert push.post("devices", body).status_code == 400
    assert push.post("devices/batch", [push.device(), body]).status_code == 400


@pytest.mark.parametrize("size", [0, 101])
def test_a_batch_has_1_to_100_items(push: Push, size: int) -> None:
    body = [push.device(f"token-{number}") for number in range(size)]
    assert push.post("devices/batch", body).status_code == 400


def test_other_bodies_paths_and_methods_are_refused(push: Push) -> None:
    assert push.post("devices", [push.device()]).status_code == 400
    assert push.post("devices/batch", push.device()).status_code == 400
    assert push.client.post(push.path("devices"), content=b"{", headers=TRACKED).status_code == 400
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert push.client.post(push.path("devices"), content=b"{}", headers=form).status_code == 400
    assert push.client.get(push.path("devices")).status_code == 405
    assert push.post("device", push.device()).status_code == 404
    assert push.post("devices", push.device(), {"x-ms-track-registration": "yes"}).status_code == 400
    push.org = str(uuid.uuid4())
    assert push.post("devices", push.device()).status_code == 400
    push.org = "contoso"
    assert push.post("devices", push.device()).status_code == 400


@pytest.mark.parametrize(
    ("token", "platform", "outcome"),
    [
        ({"ApnsDeviceToken": "AB" * 32}, "ios", ("Success", None)),
        ({"FcmDeviceToken": "f" * 300}, "android", ("Success", None)),
        ({"FcmDeviceToken": "f" * 301}, None, ("Failed", "DeviceTokenTooLong")),
        ({"ApnsDeviceToken": "a" * 301}, None, ("Failed", "DeviceTokenTooLong")),
    ],
)
def test_the_length_of_a_token_decides(
    push: Push, admin: SandboxAdmin, token: dict[str, str], platform: str | None, outcome: tuple[str, str | None]
) -> None:
    [request_id] = push.register(push.device(None, **token))
    admin.wait_until_idle()
    assert push.ask(request_id) == [outcome]
    assert [held.platform for held in admin.held()] == ([platform] if platform else [])


def test_the_same_triple_twice_is_a_duplicate_but_another_user_is_not(push: Push, admin: SandboxAdmin) -> None:
    ids = push.register(push.device("t", USER), push.device("t", USER.upper()), push.device("t"))
    admin.wait_until_idle()
    assert push.ask(*ids) == [("Success", None), ("Failed", "DuplicateExists"), ("Success", None)]
    assert len(push.held()) == 2


def test_a_wrong_api_token_stays_pending_and_stores_nothing(push: Push, admin: SandboxAdmin) -> None:
    [request_id] = push.register(push.device(ApiToken="wrong"))
    assert (admin.summary()["waiting"], push.held()) == (0, set())
    assert push.ask(request_id) == [("Pending", None)]


def test_a_wrong_api_token_can_be_refused_or_fail_instead(push: Push, admin: SandboxAdmin) -> None:
    admin.settings(unauthorized_registration="refuse")
    assert push.post("devices", push.device(ApiToken="wrong")).status_code == 400
    admin.settings(unauthorized_registration="fail")
    [request_id] = push.register(push.device(ApiToken="wrong"))
    admin.wait_until_idle()
    assert push.ask(request_id) == [("Failed", "ApiTokenNotValid")]
    assert push.held() == set()


def test_a_bad_item_can_be_swallowed_instead(push: Push, admin: SandboxAdmin) -> None:
    admin.settings(batch_bad_item="accept")
    ids = push.register(push.device("t1"), push.device("t2", UserId="x"), push.device("t3"))
    admin.wait_until_idle()
    assert [status for status, _ in push.ask(*ids)] == ["Success", "Pending", "Success"]


@pytest.mark.parametrize(
    "changes",
    [
        {"ApiToken": "wrong"},
        {"MobileAppId": NOBODY},
        {"RegistrationRequestIds": []},
        {"RegistrationRequestIds": ["x"]},
        {"RegistrationRequestIds": [NOBODY] * 101},
        {"RegistrationRequestIds": NOBODY},
        {"UserId": USER},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_status_call_that_is_not_as_documented_is_refused(push: Push, changes: dict[str, Any]) -> None:
    ask = {"RegistrationRequestIds": [str(uuid.uuid4())], "MobileAppId": push.app, "ApiToken": push.api_token}
    assert push.post("devices/status/", ask).json() == [{"Status": "Pending", "FailureReason": None}]
    assert push.post("devices/status", ask).status_code == 200
    assert push.post("devices/status/", ask | changes).status_code == 400


def test_outcomes_can_be_planned_by_token(push: Push, admin: SandboxAdmin) -> None:
    admin.set_outcomes({"a": "Pending", "b": "PendingStored", "c": ["FailedToStoreDevice", "Success"]})
    for expected in ("Failed", "Success"):
        ids = push.register(push.device("a", USER), push.device("b", USER), push.device("c", USER))
        admin.wait_until_idle()
        assert [status for status, _ in push.ask(*ids)] == ["Pending", "Pending", expected]
    assert push.held() == {(USER, "b"), (USER, "c")}
    with pytest.raises(ValueError, match="an outcome is one of"):
        admin.set_outcomes({"a": "Perhaps"})


@pytest.mark.parametrize(
    ("style", "reason"),
    [("blanks", " DryRunSendingFailed "), ("sentence", "Sending a test invisible notification failed")],
)
def test_reasons_can_be_written_as_the_documents_do(push: Push, admin: SandboxAdmin, style: str, reason: str) -> None:
    admin.settings(failure_reason_style=style)
    admin.set_outcomes({"token-1": "DryRunSendingFailed"})
    ids = push.register(push.device())
    admin.wait_until_idle()
    assert push.ask(*ids) == [("Failed", reason)]


def test_a_cleanup_takes_one_token_away_later(push: Push, admin: SandboxAdmin) -> None:
    push.register(push.device("a", USER), push.device("b", USER))
    admin.wait_until_idle()
    admin.settings(cleanup_delay=0.3)
    answer = push.post("devices/cleanup", push.cleanup(USER.upper(), "a"))
    assert (answer.status_code, answer.content) == (202, b"")
    assert len(push.held()) == 2
    admin.wait_until_idle()
    assert push.held() == {(USER, "b")}
    [effect] = admin.effects("cleanup")
    assert (effect.outcome, effect.held, effect.token) == ("Removed", False, "a")


def test_a_cleanup_without_a_token_takes_all_of_the_users_devices(push: Push, admin: SandboxAdmin) -> None:
    other = str(uuid.uuid4())
    push.register(push.device("a", USER), push.device("b", USER), push.device("a", other))
    admin.wait_until_idle()
    push.post("devices/cleanup", push.cleanup(USER))
    push.post("devices/cleanup", push.cleanup(str(uuid.uuid4())))
    admin.wait_until_idle()
    assert push.held() == {(other, "a")}
    assert [effect.outcome for effect in admin.effects("cleanup")] == ["Removed", "Removed", "NothingThere"]


def test_register_and_cleanup_can_overtake_each_other(push: Push, admin: SandboxAdmin) -> None:
    admin.settings(processing_delay=0.4, cleanup_delay=0.05)
    push.register(push.device("a", USER))
    push.post("devices/cleanup", push.cleanup(USER, "a"))
    admin.wait_until_idle()
    assert [(effect.kind, effect.held) for effect in admin.effects()] == [("cleanup", False), ("register", True)]


def test_a_batch_of_cleanups_is_an_array_or_todays_single_object(push: Push, admin: SandboxAdmin) -> None:
    push.register(push.device("a", USER), push.device("b", USER), push.device("c", USER))
    admin.wait_until_idle()
    assert push.post("devices/cleanup/batch", [push.cleanup(USER, "a"), push.cleanup(USER, "b")]).status_code == 202
    assert push.post("devices/cleanup/batch", [push.cleanup(USER, "a")] * 101).status_code == 400
    admin.settings(batch_cleanup_supported=False)
    assert push.post("devices/cleanup/batch", [push.cleanup(USER, "c")]).status_code == 400
    admin.wait_until_idle()
    assert push.held() == {(USER, "c")}
    assert push.post("devices/cleanup/batch", push.cleanup(USER, "c")).status_code == 202
    admin.wait_until_idle()
    assert push.held() == set()


@pytest.mark.parametrize(
    "changes",
    [{"ApiToken": "wrong"}, {"DeviceToken": ""}, {"FcmDeviceToken": "a"}, {"UserId": "x"}, {"MobileAppId": USER}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_cleanup_that_is_not_as_documented_is_refused(push: Push, changes: dict[str, Any]) -> None:
    assert push.post("devices/cleanup", push.cleanup(USER, "a") | changes).status_code == 400
    assert push.post("devices/cleanup/batch", [push.cleanup(USER, "a") | changes]).status_code == 400


def test_a_cleanup_with_a_wrong_api_token_can_be_swallowed_instead(push: Push, admin: SandboxAdmin) -> None:
    admin.settings(unauthorized_cleanup="accept")
    push.register(push.device("a", USER))
    admin.wait_until_idle()
    assert push.post("devices/cleanup", push.cleanup(USER, "a", ApiToken="wrong")).status_code == 202
    admin.wait_until_idle()
    assert push.held() == {(USER, "a")}


@pytest.mark.parametrize("status", [1, "1", "Opened", 0, "0"])
def test_an_event_is_kept_as_it_came(push: Push, admin: SandboxAdmin, status: int | str) -> None:
    tracking_id = str(uuid.uuid4())
    body = {"TrackingId": tracking_id, "DeviceToken": "t", "PushNotificationStatus": status}
    answer = push.client.post(f"/api/v1.0/orgs/{push.org}/pushdatareceiver/events", json=body)
    assert (answer.status_code, answer.content) == (202, b"")
    [event] = admin.events()
    assert (event.org_id, event.tracking_id, event.device_token, event.status) == (push.org, tracking_id, "t", status)


@pytest.mark.parametrize(
    "changes",
    [
        {"TrackingId": ""},
        {"TrackingId": "x"},
        {"DeviceToken": ""},
        {"PushNotificationStatus": 2},
        {"PushNotificationStatus": True},
        {"PushNotificationStatus": "opened"},
        {"ApiToken": "x"},
    ],
    ids=str,
)
def test_an_event_that_is_not_as_documented_is_refused(
    push: Push, admin: SandboxAdmin, changes: dict[str, Any]
) -> None:
    body = {"TrackingId": str(uuid.uuid4()), "DeviceToken": "t", "PushNotificationStatus": 1}
    url = f"/api/v1.0/orgs/{push.org}/pushdatareceiver/events"
    assert push.client.post(url, json=body | changes).status_code == 400
    assert push.client.post(url, json=[body]).status_code == 400
    assert push.client.post(url.replace(push.org, str(uuid.uuid4())), json=body).status_code == 400
    assert admin.events() == []


def test_the_journal_keeps_every_call_and_no_api_token(push: Push, admin: SandboxAdmin) -> None:
    push.register(push.device("a", USER))
    push.post("devices", push.device(ApiToken="wrong"))
    push.post("devices", {"ApiToken": push.api_token, "MobileAppId": push.app})
    calls = admin.calls()
    assert [(call.kind, call.status) for call in calls] == [
        ("register_batch", 202),
        ("register", 202),
        ("register", 400),
    ]
    assert {call.mobile_app_id for call in calls} == {push.app}
    assert calls[0].items == ((USER, "a"),)
    assert push.api_token not in repr((calls, admin.effects()))
    assert admin.calls(after=calls[1].seq) == calls[2:]
    assert admin.calls("register", after=calls[1].seq) == calls[2:]


def test_many_waiting_rows_are_cheap(push: Push, admin: SandboxAdmin) -> None:
    admin.settings(processing_delay=30)
    batch = [push.device(f"token-{number}") for number in range(100)]
    began = time.monotonic()
    for _ in range(100):
        push.register(*batch, headers={})
    assert admin.summary()["waiting"] == 10_000
    assert time.monotonic() - began < 20
