"""The pages of an app: connected, tried, paused and resumed, its ApiToken changed, its keys made and revoked."""

import uuid
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from registry.models import ApiKey, MobileApp, Pause, TokenIssuer
from registry.services import user_tokens
from registry.services.access import give
from registry.services.keys import find_key
from registry.services.roles import make_roles
from registry.services.token_issuers import set_token_issuer
from tests.people import signed_in, staff
from tests.sandbox_process import API_TOKEN, World

CONNECT = "/admin/apps/connect/"
PAGE = "/admin/apps/of/shop/"
SECRET = "a-shared-secret-of-more-than-32-bytes"


@pytest.fixture
def chief(world: World) -> Iterator[Client]:
    make_roles()
    user_tokens._processes_issuers.clear()
    yield signed_in(staff("olga", "administrator"))
    user_tokens._processes_issuers.clear()


def post(client: Client, page: str = PAGE, **data: Any) -> str:
    answer = client.post(page, data, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def described(world: World, **changes: Any) -> dict[str, Any]:
    """The form of another app that the sandbox knows."""
    org, app = str(uuid.uuid4()), str(uuid.uuid4())
    world.microsoft.put_app(org, app, API_TOKEN)
    values = {"name": "Contoso Bank", "slug": "bank", "org_id": org, "mobile_app_id": app, "api_token": API_TOKEN}
    more = {"endpoint": world.app.endpoint, "dataverse": world.app.dataverse_id, "identity": "backend"}
    return {**values, **more, "match": ["contact"], "match_by": ["email"], **changes}


def test_what_is_pasted_fills_the_form_in_and_what_was_typed_stays(world: World, chief: Client) -> None:
    text = f"Organization ID: {uuid.UUID(int=7)}\nAPI token: a-pasted-token-1"
    page = post(chief, CONNECT, do="read", paste=text, name="Contoso Bank", match=["lead"])
    assert str(uuid.UUID(int=7)) in page
    assert 'value="Contoso Bank"' in page
    assert 'value="a-pasted-token-1"' in page
    assert "Read: Organisation id, ApiToken." in page
    assert "Nothing was understood" in post(chief, CONNECT, do="read", paste="hello")


def test_an_app_is_made_when_its_connection_is_good(world: World, chief: Client) -> None:
    form = described(world)
    wrong = post(chief, CONNECT, **{**form, "api_token": "wrong-token"}, do="make")
    assert "refuses the app" in wrong
    assert "although the connection was refused" in wrong
    assert not MobileApp.objects.filter(slug="bank").exists()
    tried = post(chief, CONNECT, **form, do="test")
    assert "knows the app and takes its ApiToken" in tried
    assert not MobileApp.objects.filter(slug="bank").exists()
    made = post(chief, CONNECT, **form, do="make")
    assert "Contoso Bank is connected" in made
    assert API_TOKEN not in made
    app = MobileApp.objects.get(slug="bank")
    assert (app.api_token, app.match, app.identity) == (API_TOKEN, ["contact"], "backend")


def test_one_that_is_refused_can_be_made_all_the_same(world: World, chief: Client) -> None:
    post(chief, CONNECT, **described(world, api_token="not-valid-yet"), do="make", anyway="on")
    assert MobileApp.objects.filter(slug="bank").exists()


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("org_id", "x", "is not a GUID"),
        ("endpoint", "https://evil.example", "localhost"),
        ("slug", "shop", "already exists"),
        ("match", [], "required"),
        ("dataverse", "999", "valid choice"),
    ],
)
def test_a_wrong_value_is_told_at_its_field(world: World, chief: Client, field: str, value: Any, why: str) -> None:
    answer = chief.post(CONNECT, {**described(world, **{field: value}), "do": "make"})
    form = answer.context["form"]
    assert any(why in error for error in form.errors[field]), form.errors
    assert MobileApp.objects.count() == 1


def test_a_connection_is_tried_in_words(world: World, chief: Client) -> None:
    assert "users can be looked up by" in post(chief, do="test")
    MobileApp.objects.update(api_token="wrong-token")
    assert "refuses the app" in post(chief, do="test")
    assert not Pause.objects.exists()


def test_an_api_token_is_changed_when_it_is_accepted_and_kept_when_not(world: World, chief: Client) -> None:
    page = post(chief, do="change-token", api_token="the-next-token")
    assert "tried every minute" in page
    assert "refuses the app" in page
    assert "Try the new one no longer" in page
    assert "the-next-token" not in page
    assert MobileApp.objects.get().api_token == API_TOKEN
    assert "Try the new one no longer" not in post(chief, do="cancel-token")
    world.microsoft.put_app(str(world.app.org_id), str(world.app.mobile_app_id), "the-next-token")
    page = post(chief, do="change-token", api_token="the-next-token")
    assert "Accepted: the new ApiToken is in use." in page
    assert "Forget the former one" in page
    assert "Forget the former one" not in post(chief, do="forget-token")
    app = MobileApp.objects.get()
    assert (app.api_token, app.next_api_token, app.former_api_token) == ("the-next-token", "", "")
    assert "It is the one in use." in post(chief, do="change-token", api_token="the-next-token")
    assert "next-token" not in str(list(LogEntry.objects.values("changes", "additional_data")))


def test_an_app_and_a_platform_of_it_are_paused_and_resumed(world: World) -> None:
    make_roles()
    operator = signed_in(staff("carla", "operator"))
    page = post(operator, do="pause", platform="", note="wrong campaign")
    assert "By carla: wrong campaign" in page
    post(operator, do="pause", platform="ios")
    assert set(Pause.objects.values_list("platform", flat=True)) == {"", "ios"}
    page = post(operator, do="resume", what=str(Pause.objects.get(platform="ios").pk))
    assert "Resumed." in page
    assert Pause.objects.get().platform == ""
    post(operator, do="resume", what=str(Pause.objects.get().pk))
    assert "That is over already." in post(operator, do="resume", what="999")
    assert "Nothing rests" in operator.get(PAGE).content.decode()
    told = [entry.additional_data["what"] for entry in LogEntry.objects.filter(actor__username="carla").order_by("pk")]
    assert told[1:3] == ["paused the app by hand", "paused iOS by hand"]


def test_a_key_is_shown_once_and_can_be_revoked(world: World, chief: Client) -> None:
    page = post(chief, do="make-key", kind="mobile", name="of the pilot")
    key = ApiKey.objects.get(name="of the pilot")
    shown = page.partition('<pre class="th-secret" tabindex="0">')[2].partition("</pre>")[0]
    assert find_key(shown) is not None
    assert shown not in chief.get(PAGE).content.decode()
    assert "cannot be brought back" in post(chief, do="revoke-key", key=str(key.pk))
    assert find_key(shown) is not None, "it is asked first"
    assert "is revoked" in post(chief, do="revoke-key", key=str(key.pk), confirmed="1")
    assert "of the pilot" not in chief.get(PAGE).content.decode()
    assert find_key(shown) is None
    assert "revoked already" in post(chief, do="revoke-key", key=str(key.pk))


def token(**claims: Any) -> str:
    said = {"iss": "https://login.contoso.com", "aud": "shop-app", "sub": "anna", "exp": 4_000_000_000, **claims}
    return jwt.encode(said, SECRET, algorithm="HS256")


def test_a_token_is_tried_and_what_is_read_from_it_is_shown(world: World, chief: Client) -> None:
    issuer = TokenIssuer(issuer="https://login.contoso.com", audience="shop-app", secret=SECRET, algorithms=["HS256"])
    set_token_issuer(world.app, issuer)
    page = post(chief, do="look", token=token(email="anna@example.com", email_verified=True))
    assert "A launch with this token signs in anna." in page
    assert "E-mail: anna@example.com." in page
    assert "Phone: none that is vouched for." in page
    unproven = post(chief, do="look", token=token(email="anna@example.com"))
    assert "E-mail: none that is vouched for." in unproven
    assert "does not fit" in unproven
    other = post(chief, do="look", token=token(aud="another-app"))
    assert "This token signs nobody in. Its audience (aud) is another." in other
    assert "another-app" in other
    assert "not a signed token" in post(chief, do="look", token="rubbish")
    assert "<script>" not in post(chief, do="look", token=token(aud="<script>alert(1)</script>"))


@pytest.mark.parametrize(
    ("do", "role"),
    [
        ("test", "viewer"),
        ("pause", "viewer"),
        ("resume", "viewer"),
        ("change-token", "operator"),
        ("cancel-token", "operator"),
        ("forget-token", "operator"),
        ("make-key", "operator"),
        ("revoke-key", "operator"),
        ("no-such-thing", "administrator"),
    ],
)
def test_what_a_role_may_not_do_is_refused(world: World, do: str, role: str) -> None:
    make_roles()
    before = MobileApp.objects.values().get(), list(ApiKey.objects.values()), list(Pause.objects.values())
    client = signed_in(staff("vera", role))
    key = str(ApiKey.objects.earliest("pk").pk)
    assert "not do that" in post(client, do=do, api_token="x" * 9, kind="server", key=key, platform="")
    assert before == (MobileApp.objects.values().get(), list(ApiKey.objects.values()), list(Pause.objects.values()))


def test_apps_that_one_does_not_see_are_not_found_and_not_made(world: World, chief: Client) -> None:
    give(User.objects.get().pk, set())
    assert chief.get(PAGE).status_code == 404
    assert chief.post(PAGE, {"do": "pause"}).status_code == 404
    assert not Pause.objects.exists()
    assert chief.get(CONNECT).status_code == 403
    assert Client().get(PAGE).status_code == 302


def test_a_viewer_is_shown_no_buttons(world: World) -> None:
    make_roles()
    viewer = signed_in(staff("vera", "viewer"))
    page = viewer.get(PAGE).content.decode()
    for label in ("Test connection", "Change the ApiToken", "Make a key", "Revoke", 'value="pause"'):
        assert label not in page
    assert viewer.get(CONNECT).status_code == 403


def test_the_list_of_apps_leads_there(world: World, chief: Client) -> None:
    page = chief.get(reverse("admin:registry_mobileapp_changelist")).content.decode()
    assert PAGE in page
    assert "Connect an app" in page
