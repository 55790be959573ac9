"""Signing in to the admin with Entra ID, against the sandbox's stand-in for it."""

import json
import ssl
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import httpx2
import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from registry.models import MobileApp
from registry.services.access import scope_of
from tests.conftest import Api
from tests.people import staff
from tests.sandbox_process import World
from tokenhub.environment import Env
from tokenhub.signin.settings import read

GRANTS = "admins=administrator,shop-team=operator:shop,watchers=viewer"


@pytest.fixture
def entra(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> World:
    """Entra ID is configured, and a second factor is required of everybody else."""
    credentials = json.loads((Path(world.microsoft.ca_file).parent / "sandbox.json").read_text())
    given = {"TENANT": "tenant", "CLIENT_ID": "client_id", "CLIENT_SECRET": "client_secret"}
    for name, key in given.items():
        monkeypatch.setenv(f"TOKENHUB_ENTRA_{name}", credentials[key])
    monkeypatch.setenv("TOKENHUB_ENTRA_AUTHORITY", world.microsoft.url)
    monkeypatch.setenv("TOKENHUB_ENTRA_ROLES", GRANTS)
    for name, value in read(Env(), https=False, embedded=False).items():
        if name.startswith(("TOKENHUB_ENTRA", "SOCIALACCOUNT")):
            setattr(settings, name, value)
    settings.TOKENHUB_SECOND_FACTOR = True
    settings.ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
    return world


def sign_in(world: World, upn: str, groups: str, **changes: str) -> tuple[Client, int]:
    """Press the button, say at Entra ID who one is, come back; gives the browser, and what it was answered."""
    browser = Client(SERVER_NAME="127.0.0.1")
    sent = browser.post("/admin/account/sso/entra/login/")
    assert sent.status_code == 302, sent.content
    at_entra = sent.headers["Location"]
    assert at_entra.startswith(world.microsoft.url)
    context = ssl.create_default_context(cafile=world.microsoft.ca_file)
    with httpx2.Client(verify=context) as client:
        assert "say who you are" in client.get(at_entra).text
        back = client.get(f"{at_entra}&{urlencode({'upn': upn, 'groups': groups})}").headers["Location"]
    parts = urlsplit(back)
    query = dict(pair.split("=", 1) for pair in parts.query.split("&")) | changes
    return browser, browser.get(parts.path, query).status_code


def test_a_member_of_a_group_comes_in_with_its_role_for_its_app_and_no_code(entra: World) -> None:
    entra.server.launch(installation_id="phone-of-shop")
    browser, status = sign_in(entra, "vera@contoso.example", "shop-team others")
    assert status == 302
    assert "phone-of-shop" in browser.get("/admin/registry/device/").content.decode()
    vera = User.objects.get()
    assert (vera.username, vera.is_staff, vera.is_superuser) == ("vera@contoso.example", True, False)
    assert [group.name for group in vera.groups.all()] == ["operator"]
    assert not vera.has_usable_password()
    assert scope_of(vera).sees(entra.app.pk)
    assert not scope_of(vera).every


def test_roles_and_apps_follow_the_groups_at_the_next_sign_in(entra: World) -> None:
    for groups, roles, every in (
        ("admins", {"administrator"}, True),
        ("shop-team", {"operator"}, False),
        ("admins shop-team", {"administrator"}, True),
        ("watchers shop-team", {"operator"}, False),
        ("watchers", {"viewer"}, True),
    ):
        sign_in(entra, "vera@contoso.example", groups)
        vera = User.objects.get()
        assert {group.name for group in vera.groups.all()} == roles
        assert scope_of(vera).every is every


def test_who_sees_every_app_and_operates_one_operates_no_other_and_is_told(entra: World) -> None:
    other = MobileApp.objects.get()
    other.pk, other.slug, other.mobile_app_id = None, "bank", uuid4()
    other.save()
    browser, _ = sign_in(entra, "vera@contoso.example", "watchers shop-team")
    vera = User.objects.get()
    assert not scope_of(vera).sees(other.pk)
    assert "also make you viewer of every app" in browser.get("/admin/").content.decode()
    assert browser.get(f"/admin/apps/of/{other.slug}/").status_code == 404
    told = [entry.additional_data for entry in LogEntry.objects.filter(object_id=vera.pk)]
    assert {"what": "role from Entra ID: operator; left out: viewer of every app"} in told


def test_who_is_in_none_of_the_groups_does_not_come_in_and_leaves_no_account(entra: World) -> None:
    browser, status = sign_in(entra, "mallory@contoso.example", "others")
    assert status == 403
    assert browser.get("/admin/").status_code == 302
    assert not User.objects.exists()


def test_who_left_the_group_does_not_come_in_again(entra: World) -> None:
    sign_in(entra, "vera@contoso.example", "admins")
    browser, status = sign_in(entra, "vera@contoso.example", "")
    assert status == 403
    assert browser.get("/admin/").status_code == 302


def test_an_account_with_a_password_is_not_taken_over_by_its_name_or_address(entra: World) -> None:
    local = staff("vera@contoso.example", "administrator")
    User.objects.update(email="vera@contoso.example")
    sign_in(entra, "vera@contoso.example", "shop-team")
    assert User.objects.count() == 2
    local.refresh_from_db()
    assert [group.name for group in local.groups.all()] == ["administrator"]
    assert User.objects.exclude(pk=local.pk).get().username != local.username


def test_an_account_that_was_switched_off_does_not_come_in(entra: World) -> None:
    sign_in(entra, "vera@contoso.example", "admins")
    User.objects.update(is_active=False)
    browser, _ = sign_in(entra, "vera@contoso.example", "admins")
    assert browser.get("/admin/").status_code == 302


@pytest.mark.parametrize("changes", [{"state": "invented"}, {"code": "invented"}])
def test_an_answer_that_we_did_not_ask_for_lets_nobody_in(entra: World, changes: dict[str, str]) -> None:
    browser, _ = sign_in(entra, "vera@contoso.example", "admins", **changes)
    assert browser.get("/admin/").status_code == 302
    assert not User.objects.exists()


def test_the_page_offers_it_only_where_it_is_configured(entra: World, settings: Settings) -> None:
    browser = Client(SERVER_NAME="127.0.0.1")
    assert "Sign in with Microsoft" in browser.get("/admin/login/").content.decode()
    settings.SOCIALACCOUNT_PROVIDERS = {}
    assert "Microsoft" not in browser.get("/admin/login/").content.decode()
    assert browser.post("/admin/account/sso/entra/login/").status_code == 404
    assert isinstance(entra.server, Api)
