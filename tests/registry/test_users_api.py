"""Users: kept, exported and erased by the customer's servers."""

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from pytest_django import DjangoAssertNumQueries

from registry.models import DataverseMapping, Device, Erasure, MobileApp, MobileUser, Registration
from registry.services.keys import create_key
from tests.conftest import Api

pytestmark = pytest.mark.django_db
ANNA = {"id": "anna", "email": "anna@example.com"}


def put(api: Api, body: Any, user_id: str = "anna") -> Any:
    return api.client.put(f"/api/v1/users/{quote(user_id, safe='')}", body, format="json")


def test_a_user_is_made_and_changed(server: Api) -> None:
    made = put(server, {"email": " Anna@Example.com ", "phone": "+49 30 123456"})
    assert (made.status_code, made.json()["email"], made.json()["phone"]) == (201, "Anna@example.com", "+4930123456")
    assert made.json()["push_consent"] is True
    changed = put(server, {"phone": None, "push_consent": False})
    assert (changed.status_code, changed.json()["phone"], changed.json()["email"]) == (200, None, "Anna@example.com")
    user = MobileUser.objects.get()
    assert (user.email, user.phone, user.push_consent, user.tracking_consent) == ("Anna@example.com", "", False, True)


def test_what_is_left_out_stays_and_nothing_is_written_twice(server: Api) -> None:
    put(server, {"email": "anna@example.com"})
    DataverseMapping.objects.update(due_at=None)
    assert put(server, {}).json()["email"] == "anna@example.com"
    assert put(server, {"email": "anna@example.com"}).status_code == 200
    assert DataverseMapping.objects.get().due_at is None


def test_a_new_address_has_the_user_looked_up_again(server: Api) -> None:
    server.launch(user=ANNA)
    DataverseMapping.objects.update(due_at=None, claim_no=3)
    put(server, {"email": "other@example.com"})
    mapping = DataverseMapping.objects.get()
    assert mapping.due_at is not None
    assert mapping.claim_no == 4


def test_an_opt_out_reaches_the_devices(server: Api) -> None:
    server.launch(user=ANNA)
    Device.objects.update(planned_revision=1)
    put(server, {"push_consent": False})
    assert server.state() == "opted_out"
    assert Device.objects.get().revision == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "not an address"}, "email"),
        ({"phone": "123"}, "phone"),
        ({"push_consent": "yes"}, "push_consent"),
        ({"id": "bert"}, "id"),
        ({"token": "x"}, "token"),
        ([], "body"),
    ],
)
def test_bad_profiles_are_refused_by_field(server: Api, body: Any, field: str) -> None:
    answer = put(server, body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert not MobileUser.objects.exists()


@pytest.mark.parametrize("user_id", ["a/b", "käthe", "50%", "a b", "..a", "x" * 255, "a?b#c", "\U0001f600"])
def test_any_id_fits_into_the_path(server: Api, user_id: str) -> None:
    assert put(server, {}, user_id).status_code == 201
    assert server.get(f"users/{quote(user_id, safe='')}").json()["id"] == user_id
    server.launch(user={"id": user_id})
    assert Device.objects.get().user == MobileUser.objects.get()


@pytest.mark.parametrize("user_id", ["x" * 256, "a\tb", " "])
def test_what_can_be_no_id_is_refused(server: Api, user_id: str) -> None:
    assert put(server, {}, user_id).status_code == 400


def test_the_export_holds_everything_about_the_user_and_nobody_else(
    server: Api, app: MobileApp, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number, user in enumerate([ANNA, ANNA, {"id": "bert", "email": "bert@example.com"}]):
        server.launch(installation_id=f"phone-{number}", token=f"token-{number}", user=user)
    record = uuid.uuid4()
    DataverseMapping.objects.filter(user__external_id="anna").update(
        state="mapped", table="contact", dataverse_id=record, matched_by="email", due_at=None
    )
    device = Device.objects.get(installation_id="phone-0")
    Registration.objects.create(
        app=app, device=device, table="contact", dataverse_id=record, platform="android", token="token-0",
        token_hash=device.token_hash, state="registered", due_at=None,
    )  # fmt: skip
    tracking_id = str(uuid.uuid4())
    server.post("events", {"installation_id": "phone-0", "tracking_id": tracking_id, "status": "opened"})
    server.post("events", {"installation_id": "phone-2", "tracking_id": str(uuid.uuid4()), "status": "opened"})
    with django_assert_num_queries(7):  # the key, the user, and one for each kind of thing
        told = server.get("users/anna").json()
    assert (told["id"], told["email"], told["phone"]) == ("anna", "anna@example.com", None)
    assert told["mapping"]["dataverse_id"] == str(record)
    assert [(device["installation_id"], device["token"]) for device in told["devices"]] == [
        ("phone-0", "token-0"),
        ("phone-1", "token-1"),
    ]
    assert [(row["token"], row["state"]) for row in told["registrations"]] == [("token-0", "registered")]
    assert [event["tracking_id"] for event in told["events"]] == [tracking_id]
    assert "First launch (Android), signed in as anna." in [line["what"] for line in told["history"]]
    assert "bert" not in str(told)


def test_erasing_gives_a_receipt_to_ask_by(server: Api) -> None:
    server.launch(user=ANNA)
    answer = server.delete("users/anna")
    assert answer.status_code == 202
    assert answer.json()["state"] == "waiting"
    assert answer.json()["requested_by"].startswith("API key thub_srv_")
    assert server.get("users/anna").status_code == 404
    assert server.delete("users/anna").status_code == 404
    told = server.client.get(answer["Location"])
    assert (told.status_code, told.json()["receipt"]) == (200, str(Erasure.objects.get().pk))
    assert "anna" not in told.content.decode()


def test_users_and_receipts_of_another_app_are_not_there(server: Api, make_app: Callable[..., MobileApp]) -> None:
    server.launch(user=ANNA)
    other = Api(create_key(app=make_app("other"), kind="server"))
    assert [other.get("users/anna").status_code, other.delete("users/anna").status_code] == [404, 404]
    receipt = server.delete("users/anna").json()["receipt"]
    assert other.get(f"erasures/{receipt}").status_code == 404


def test_a_mobile_key_gets_at_no_user(server: Api, mobile: Api) -> None:
    server.launch(user=ANNA)
    receipt = server.delete("users/anna").json()["receipt"]
    for answer in (
        put(mobile, {}),
        mobile.get("users/anna"),
        mobile.delete("users/anna"),
        mobile.get(f"erasures/{receipt}"),
    ):
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:tokenhub:problem:forbidden")
