"""Changing an app's ApiToken: two are alive meanwhile, and nothing is lost."""

import hmac
import json
from datetime import timedelta

import pytest
from django.test import Client
from pytest_django import Settings

from registry.models import MobileApp, Registration
from registry.services import api_tokens
from registry.services.apps import set_api_token
from registry.services.errors import InvalidInput
from sync import connect
from sync.steps import rotate
from tests.sandbox_process import API_TOKEN, World

NEW = "the-new-api-token"


def fresh(world: World) -> MobileApp:
    return MobileApp.objects.select_related("dataverse").get(pk=world.app.pk)


def valid(world: World, token: str) -> None:
    """CI-J takes this ApiToken, and no other."""
    world.microsoft.put_app(str(world.app.org_id), str(world.app.mobile_app_id), token)


def launched(world: World, name: str = "anna") -> str:
    email = f"{name}@example.com"
    record = world.contact(emailaddress1=email)
    world.server.launch(installation_id=name, token=f"token-of-{name}", user={"id": name, "email": email})
    return record


def test_the_old_one_is_used_until_the_new_one_is_accepted(world: World) -> None:
    api_tokens.begin(world.app, f" {NEW}\n")
    record = launched(world)
    world.work_until(lambda: world.server.state("anna") == "registered")
    assert fresh(world).api_token == API_TOKEN
    valid(world, NEW)
    MobileApp.objects.update(api_token_tried_at=None)
    world.work_until(lambda: fresh(world).api_token == NEW)
    app = fresh(world)
    assert (app.next_api_token, app.former_api_token) == ("", API_TOKEN)
    assert app.api_token_changed_at is not None
    bert = launched(world, "bert")
    world.work_until(lambda: world.held() == {(record, "token-of-anna"), (bert, "token-of-bert")})


def test_one_that_is_refused_is_tried_once_a_minute(world: World) -> None:
    api_tokens.begin(world.app, NEW)
    before = len(world.microsoft.calls("status"))
    for _ in range(3):
        rotate.run_batch(fresh(world))
    assert len(world.microsoft.calls("status")) == before + 1
    assert not fresh(world).pauses.exists()


def test_a_new_one_ends_the_pause_that_the_old_one_made(world: World) -> None:
    valid(world, NEW)
    record = launched(world)
    world.work_until(world.app.pauses.exists)
    api_tokens.begin(world.app, NEW)
    world.work_until(lambda: world.held() == {(record, "token-of-anna")})
    assert not fresh(world).pauses.exists()


def test_a_cancelled_one_is_not_used_though_it_was_being_tried(world: World) -> None:
    api_tokens.begin(world.app, NEW)
    asked = fresh(world)
    api_tokens.cancel(world.app)
    assert not api_tokens.promote(asked, NEW)
    assert fresh(world).api_token == API_TOKEN


def test_phones_may_prove_themselves_by_either_until_the_former_one_is_forgotten(world: World) -> None:
    MobileApp.objects.update(drop_in=True)
    valid(world, NEW)
    api_tokens.begin(world.app, NEW)

    def post(token: str, phone: str) -> int:
        body = {
            "MobileAppId": str(world.app.mobile_app_id),
            "UserId": "00aa00aa-bb11-cc22-dd33-44ee44ee44ee",
            "ApiToken": token,
            "FcmDeviceToken": phone,
        }
        url = f"/api/v1.0/orgs/{world.app.org_id}/pushdeviceregistration/devices"
        return Client().post(url, json.dumps(body), content_type="application/json").status_code

    assert [post(API_TOKEN, "phone-1"), post(NEW, "phone-2"), post("another", "phone-3")] == [202, 202, 400]
    assert rotate.prove(fresh(world)) is None
    assert [post(API_TOKEN, "phone-4"), post(NEW, "phone-5")] == [202, 202]
    api_tokens.forget_former(world.app)
    assert [post(API_TOKEN, "phone-6"), post(NEW, "phone-7"), post("", "phone-8")] == [400, 202, 400]


def test_a_callback_signed_with_the_former_one_still_counts(world: World, settings: Settings) -> None:
    settings.TOKENHUB_PUBLIC_URL = "https://push.example.com"
    settings.TOKENHUB_FIRST_POLL = timedelta(minutes=10)
    launched(world)
    world.work_until(lambda: Registration.objects.filter(state="sent").exists())
    valid(world, NEW)
    api_tokens.begin(world.app, NEW)
    assert rotate.prove(fresh(world)) is None
    row = Registration.objects.get()
    assert row.batch_id is not None
    expected = connect.callback(row.batch_id)
    assert expected is not None
    signed = {"Status": "Success", "Signature": hmac.digest(API_TOKEN.encode(), expected.url.encode(), "sha256").hex()}
    answer = Client().post(
        f"/cij/callbacks/{row.batch_id}",
        json.dumps(signed),
        content_type="application/json",
        headers={"X-Tokenhub-Callback": expected.secret},
    )
    assert answer.status_code == 202


@pytest.mark.parametrize("token", ["", "  ", "a\tb", API_TOKEN, f"{API_TOKEN}\n"])
def test_what_is_no_other_token_is_refused(world: World, token: str) -> None:
    with pytest.raises(InvalidInput):
        api_tokens.begin(world.app, token)
    assert fresh(world).next_api_token == ""


def test_one_that_is_set_by_command_stands_instead_of_all_others(world: World) -> None:
    MobileApp.objects.update(next_api_token="x" * 8, former_api_token="y" * 8)
    set_api_token(world.app, NEW)
    assert api_tokens.known(fresh(world)) == [NEW]
