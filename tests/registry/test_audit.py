"""What people change in the admin, and each look at a whole token, is written down, and stays."""

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from registry.models import Device, MobileApp
from registry.services.apps import set_api_token
from registry.services.keys import create_key
from registry.services.roles import make_roles
from tests.conftest import Api
from tests.people import signed_in, staff
from tests.registry.test_app_form import save


@pytest.fixture
def vera(db: None) -> Client:
    return signed_in(staff("vera", "administrator"))


def entries() -> list[LogEntry]:
    return list(LogEntry.objects.order_by("pk"))


def test_a_change_is_recorded_with_old_and_new_and_by_whom(vera: Client, app: MobileApp, settings: Settings) -> None:
    settings.TOKENHUB_TRUSTED_PROXIES = []
    LogEntry.objects.all().delete()
    assert save(vera, app, name="Contoso Boutique") == {}
    [entry] = entries()
    assert entry.changes == {"name": ["Shop", "Contoso Boutique"]}
    assert (entry.actor.get_username(), entry.remote_addr) == ("vera", "127.0.0.1")
    page = vera.get("/admin/auditlog/logentry/").content.decode()
    assert "Shop → Contoso Boutique" in page


def test_what_a_group_may_do_is_recorded_and_not_what_migrate_gives_the_roles(admin_client: Client) -> None:
    make_roles()
    assert not LogEntry.objects.filter(content_type__model="group").exists()
    seen = Permission.objects.get(codename="view_device")
    admin_client.post("/admin/auth/group/add/", {"name": "auditors", "permissions": [seen.pk]})
    made, given = LogEntry.objects.filter(content_type__model="group").order_by("pk")
    assert (made.object_repr, made.actor.get_username()) == ("auditors", "admin")
    assert given.changes["permissions"]["operation"] == "add"
    assert "Can view device" in given.changes["permissions"]["objects"][0]
    assert "permissions: add" in admin_client.get("/admin/auditlog/logentry/").content.decode()


def test_the_address_is_not_the_client_s_to_invent(app: MobileApp, vera: Client) -> None:
    LogEntry.objects.all().delete()
    page = reverse("admin:registry_apikey_add")
    vera.post(page, {"app": app.pk, "kind": "server", "name": "x"}, headers={"X-Forwarded-For": "6.6.6.6"})
    assert {entry.remote_addr for entry in entries()} == {"127.0.0.1"}


def test_a_command_s_change_is_recorded_without_a_person(app: MobileApp) -> None:
    [made] = LogEntry.objects.filter(object_repr="shop")
    assert made.actor is None


def test_no_secret_is_ever_written_down(app: MobileApp, vera: Client) -> None:
    set_api_token(app, "another-api-token")
    key = create_key(app=app, kind="server")
    app.refresh_from_db()
    app.api_token = "a-third-api-token"
    app.save()
    app.dataverse.client_secret = "n3w-s3cret"
    app.dataverse.save()
    written = "".join(str(entry.changes) + str(entry.serialized_data) for entry in entries())
    for secret in ("api-token", "s3cret", key, "correct-horse"):
        assert secret not in written
    assert "pbkdf2" not in written
    assert LogEntry.objects.filter(changes__has_key="api_token").exists()  # that it was changed is


def test_a_whole_token_is_shown_to_those_who_may_and_the_look_is_recorded(server: Api, vera: Client) -> None:
    server.launch(token="a-secret-push-token", user={"id": "anna"})
    device = Device.objects.get()
    page = reverse("admin:registry_device_whole_token", args=[device.pk])
    before = LogEntry.objects.count()
    asked = vera.get(page).content.decode()
    assert "a-secret-push-token" not in asked
    assert LogEntry.objects.count() == before
    shown = vera.post(page)
    assert "a-secret-push-token" in shown.content.decode()
    assert "no-store" in shown.headers["Cache-Control"]
    entry = LogEntry.objects.latest()
    assert entry.action == LogEntry.Action.ACCESS
    assert entry.actor.get_username() == "vera"
    assert "a-secret-push-token" not in str(entry.__dict__)
    assert "looked at the whole token" in vera.get("/admin/auditlog/logentry/").content.decode()


def test_who_may_not_see_it_does_not(server: Api) -> None:
    server.launch(token="a-secret-push-token")
    page = reverse("admin:registry_device_whole_token", args=[Device.objects.get().pk])
    client = signed_in(staff("olga", "operator"))
    for method in (client.get, client.post):
        answer = method(page)
        assert answer.status_code == 403
        assert "a-secret-push-token" not in answer.content.decode()
    shown = client.get(reverse("admin:registry_device_change", args=[Device.objects.get().pk])).content.decode()
    assert "a-secret-push-token" not in shown
    assert "Show the whole token" not in shown


def test_the_log_is_searched_and_not_edited(vera: Client, app: MobileApp, admin_client: Client) -> None:
    entry = LogEntry.objects.filter(object_repr="shop").latest()
    found = vera.get("/admin/auditlog/logentry/", {"q": "sho"}).content.decode()
    assert "mobile app shop" in found
    assert "slug: shop" in found
    assert "None →" not in found
    assert ".None" not in found
    assert "mobile app shop" not in vera.get("/admin/auditlog/logentry/", {"q": "nothing"}).content.decode()
    page = f"/admin/auditlog/logentry/{entry.pk}/"
    for client in (vera, admin_client):  # not by a superuser either
        assert client.get(f"{page}change/").status_code == 200
        assert client.post(f"{page}change/", {"object_repr": "x"}).status_code == 403
        assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 403
        client.post("/admin/auditlog/logentry/", {"action": "delete_selected", "_selected_action": [entry.pk]})
    assert LogEntry.objects.filter(pk=entry.pk, object_repr="shop").exists()


def test_it_is_for_those_who_see_every_app(app: MobileApp) -> None:
    client = signed_in(staff("olga", "administrator", apps=["shop"]))
    entry = LogEntry.objects.filter(object_repr="shop").latest()
    for page in ("", f"{entry.pk}/change/"):
        assert client.get(f"/admin/auditlog/logentry/{page}").status_code == 403


def test_accounts_are_not_deleted(admin_client: Client) -> None:
    user = staff("olga", "viewer")
    assert admin_client.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"}).status_code == 403
