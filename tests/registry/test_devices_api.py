from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from registry.models import DataverseMapping, Device, MobileApp, MobileUser
from registry.services.keys import create_key
from tests.conftest import Api

ANNA = {"id": "anna", "email": "anna@example.com", "phone": "+49 30 123456"}


def test_a_first_launch_creates_the_device(server: Api) -> None:
    response = server.launch(user=ANNA, app_version="1.2", locale="de-DE", time_zone="Europe/Berlin")
    assert response.status_code == 201
    assert response.json() == {"installation_id": "phone-1", "result": "created"}
    device = Device.objects.select_related("user").get()
    assert (device.platform, device.token, device.app_version) == ("android", "token-1", "1.2")
    assert device.user is not None
    assert (device.user.external_id, device.user.phone) == ("anna", "+4930123456")


def test_a_repeated_launch_changes_nothing_and_reads_once(
    server: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    server.launch(user=ANNA)
    revision = Device.objects.get().revision
    with django_assert_num_queries(2):  # the key and the device with its user
        response = server.launch(user=ANNA)
    assert (response.status_code, response.json()["result"]) == (200, "unchanged")
    assert Device.objects.get().revision == revision


@pytest.mark.parametrize(
    "change",
    [
        {"token": "token-2"},
        {"user": {"id": "bert"}},
        {"user": None},
        {"user": {"id": "anna", "email": "anna@new.example"}},
        {"user": {"id": "anna", "push_consent": False}},
        {"app_version": "2.0"},
        {"platform": "ios", "token": "ab12"},
    ],
)
def test_a_launch_that_says_something_new_updates(server: Api, change: dict[str, object]) -> None:
    server.launch(user=ANNA)
    response = server.launch(**{"user": ANNA, **change})
    assert (response.status_code, response.json()["result"]) == (200, "updated")
    assert server.launch(**{"user": ANNA, **change}).json()["result"] == "unchanged"


def test_what_a_launch_leaves_out_stays(server: Api) -> None:
    server.launch(user={**ANNA, "push_consent": False}, app_version="1.2")
    assert server.launch(user={"id": "anna"}).json()["result"] == "unchanged"
    user = MobileUser.objects.get()
    assert (user.email, user.push_consent) == ("anna@example.com", False)
    assert Device.objects.get().app_version == "1.2"


def test_null_takes_an_address_away(server: Api) -> None:
    server.launch(user=ANNA)
    server.launch(user={"id": "anna", "email": None})
    assert MobileUser.objects.get().email == ""


def test_absent_consents_of_a_new_user_take_the_apps_defaults(app: MobileApp, server: Api) -> None:
    app.default_push_consent = False
    app.save()
    server.launch(user={"id": "anna"})
    user = MobileUser.objects.get()
    assert (user.push_consent, user.tracking_consent) == (False, True)


def test_last_seen_is_written_once_in_some_hours(server: Api) -> None:
    server.launch()
    long_ago = timezone.now() - timedelta(hours=7)
    Device.objects.update(last_seen=long_ago)
    server.launch()
    assert timezone.now() - Device.objects.get().last_seen < timedelta(minutes=1)


def test_the_later_of_two_installations_with_one_token_keeps_it(server: Api) -> None:
    server.launch(user=ANNA)
    server.launch(installation_id="phone-2", user=ANNA)
    assert server.state("phone-1") == "retired"
    assert server.state("phone-2") == "mapping"


def test_two_phones_that_swap_their_tokens_both_live(server: Api) -> None:
    server.launch(installation_id="a", token="one")
    server.launch(installation_id="b", token="two")
    server.launch(installation_id="a", token="two")
    server.launch(installation_id="b", token="one")
    assert {device.installation_id: device.token for device in Device.objects.filter(retired_at=None)} == {
        "a": "two",
        "b": "one",
    }


def test_a_deleted_device_lives_again_when_it_posts(server: Api) -> None:
    server.launch(user=ANNA)
    assert server.delete("devices/phone-1").status_code == 204
    assert server.delete("devices/phone-1").status_code == 204
    gone = server.get("devices/phone-1")
    assert (gone.status_code, gone.json()["detail"]) == (
        404,
        "The device was deleted. It lives again when its app posts again.",
    )
    assert server.launch(user=ANNA).json()["result"] == "updated"
    assert server.state() == "mapping"


def test_a_device_whose_token_another_has_by_now_is_gone_when_it_is_deleted(server: Api) -> None:
    server.launch(user=ANNA)
    server.launch(installation_id="phone-2")
    assert server.state("phone-1") == "retired"
    assert server.delete("devices/phone-1").status_code == 204
    assert server.get("devices/phone-1").status_code == 404


def test_who_signs_out_of_a_deleted_device_does_not_come_back_with_it(server: Api, mobile: Api) -> None:
    server.launch(user=ANNA)
    server.delete("devices/phone-1")
    assert server.post("devices/phone-1/sign-out").json()["result"] == "updated"
    assert mobile.launch().json()["result"] == "updated"  # says nothing of a user
    assert Device.objects.get().user is None


def test_signing_out_detaches_the_user(server: Api) -> None:
    server.launch(user=ANNA)
    answer = server.post("devices/phone-1/sign-out")
    assert answer.status_code == 200
    assert answer.json() == {"installation_id": "phone-1", "result": "updated"}
    assert server.state() == "no_user"


def test_a_new_address_is_looked_up_and_drops_the_answer_about_the_old_one(server: Api) -> None:
    server.launch(user=ANNA)
    DataverseMapping.objects.update(due_at=None)
    claim_no = DataverseMapping.objects.get().claim_no
    server.launch(user={"id": "anna", "email": "anna@new.example"})
    mapping = DataverseMapping.objects.get()
    assert mapping.due_at is not None
    assert mapping.claim_no == claim_no + 1


def test_an_opt_out_is_seen_on_every_device_of_the_user(server: Api) -> None:
    server.launch(user=ANNA)
    server.launch(installation_id="tablet", token="token-2", user=ANNA)
    Device.objects.update(planned_revision=1000, revision=1000)
    server.launch(user={"id": "anna", "push_consent": False})
    assert set(Device.objects.values_list("revision", flat=True)) == {1001}
    assert server.state() == "opted_out"
    assert server.state("tablet") == "opted_out"


def test_a_mobile_key_may_not_name_a_user_by_default(mobile: Api) -> None:
    response = mobile.launch(user=ANNA)
    assert response.status_code == 403
    assert response["content-type"] == "application/problem+json"
    assert Device.objects.count() == 0


def test_a_mobile_key_that_names_nobody_leaves_the_user_to_the_backend(server: Api, mobile: Api) -> None:
    mobile.launch()
    server.launch(user=ANNA)
    assert mobile.launch(token="token-2").json()["result"] == "updated"
    device = Device.objects.get()
    assert device.token == "token-2"
    assert device.user is not None
    assert mobile.launch(token="token-2", user=None).json()["result"] == "updated"
    assert server.state() == "no_user"


def test_an_unverified_app_lets_its_mobile_key_name_users(make_app: Callable[..., MobileApp]) -> None:
    trial = Api(create_key(app=make_app("trial", identity="unverified"), kind="mobile"))
    assert trial.launch(user=ANNA).status_code == 201


def test_apps_do_not_see_each_others_devices(server: Api, make_app: Callable[..., MobileApp]) -> None:
    server.launch()
    other = Api(create_key(app=make_app("other"), kind="server"))
    assert other.get("devices/phone-1").status_code == 404
    assert other.delete("devices/phone-1").status_code == 404
    assert other.launch().status_code == 201


@pytest.mark.parametrize("key", ["", "thub_srv_wrong", "nonsense", "thub_srv_\u00e9"])
def test_without_a_living_key_nothing_is_let_in(db: None, key: str) -> None:
    response = Api(key).launch()
    assert response.status_code == 401
    assert response["www-authenticate"].startswith("Bearer")
    assert response["content-type"] == "application/problem+json"


def test_a_revoked_key_is_refused(app: MobileApp) -> None:
    key = create_key(app=app, kind="server")
    app.keys.update(revoked_at=timezone.now())
    assert Api(key).launch().status_code == 401


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"installation_id": ""}, "installation_id"),
        ({"installation_id": "a b"}, "installation_id"),
        ({"platform": "symbian"}, "platform"),
        ({"token": ""}, "token"),
        ({"token": "x" * 301}, "token"),
        ({"token": "with blank"}, "token"),
        ({"token": 12}, "token"),
        ({"platform": "ios", "token": "not-hex"}, "token"),
        ({"platform": "ios", "token": "ab" * 33}, "token"),
        ({"user": "anna"}, "user"),
        ({"user": {}}, "user.id"),
        ({"user": {"id": "a\x00b"}}, "user.id"),
        ({"user": {"id": "anna", "email": "nonsense"}}, "user.email"),
        ({"user": {"id": "anna", "phone": "030 123456"}}, "user.phone"),
        ({"user": {"id": "anna", "push_consent": "yes"}}, "user.push_consent"),
        ({"user": {"id": "anna", "mail": "a@b.example"}}, "user.mail"),
        ({"time_zone": "Middle/Earth"}, "time_zone"),
        ({"instalation_id": "typo"}, "instalation_id"),
    ],
)
def test_bad_input_is_named(server: Api, fields: dict[str, object], field: str) -> None:
    response = server.launch(**fields)
    assert response.status_code == 400
    assert response["content-type"] == "application/problem+json"
    body = response.json()
    assert field in [error["field"] for error in body["errors"]]
    assert (body["status"], body["type"]) == (400, "urn:tokenhub:problem:invalid-request")
    assert Device.objects.count() == 0


def test_what_is_no_json_is_told_so(server: Api) -> None:
    response = server.client.post("/api/v1/devices", b"{", content_type="application/json")
    assert response.status_code == 400
    assert "JSON" in response.json()["detail"]


def test_the_token_is_shown_by_its_end_only(server: Api) -> None:
    server.launch(token="a-very-secret-token-abcdef")
    body = server.get("devices/phone-1").content.decode()
    assert "abcdef" in body
    assert "secret" not in body
