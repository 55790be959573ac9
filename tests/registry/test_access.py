"""Roles say what an account may do in the admin, its apps where: in lists, on pages, in choices, in actions."""

from collections.abc import Callable

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.urls import reverse

from registry.admin.base import ConsoleAdmin
from registry.models import ApiKey, AppScope, Device, MobileApp, MobileUser, Pause
from registry.services.access import scope_of
from registry.services.keys import create_key
from registry.states import ROLES
from tests.conftest import Api
from tests.people import signed_in, staff


@pytest.fixture
def two(make_app: Callable[..., MobileApp]) -> tuple[MobileApp, MobileApp]:
    """Two apps with a phone, a user and a key each."""
    for slug in ("shop", "bank"):
        app = make_app(slug)
        server = Api(create_key(app=app, kind="server", name=f"key of {slug}"))
        user = {"id": f"user-of-{slug}", "email": f"{slug}@example.com"}
        server.launch(installation_id=f"phone-of-{slug}", token=f"token-of-{slug}", user=user)
        Pause.objects.create(app=app, reason="throttled", detail=f"pause of {slug}", until="2030-01-01T00:00Z")
    return MobileApp.objects.get(slug="shop"), MobileApp.objects.get(slug="bank")


def test_migrate_makes_the_roles_each_more_than_the_one_before(db: None) -> None:
    viewer, operator, administrator = (
        set(Group.objects.get(name=role).permissions.values_list("codename", flat=True)) for role in ROLES
    )
    assert viewer < operator < administrator
    assert "view_device" in viewer
    assert {name.split("_")[0] for name in viewer} == {"view"}
    assert "view_logentry" in administrator - operator
    assert "see_whole_token" in administrator - operator
    assert "force_erasure" not in operator
    assert not {"change_apikey", "add_apikey", "change_mobileapp", "change_erasure"} & operator


def test_migrate_mends_a_role_that_was_changed(transactional_db: None) -> None:
    Group.objects.get(name="viewer").permissions.set(Permission.objects.filter(codename="delete_mobileapp"))
    Group.objects.get(name="operator").delete()
    call_command("migrate", verbosity=0)
    assert not Group.objects.filter(name="viewer", permissions__codename="delete_mobileapp").exists()
    assert Group.objects.get(name="operator").permissions.exists()


def test_an_account_sees_the_rows_of_its_apps_and_no_others(two: tuple[MobileApp, MobileApp]) -> None:
    client = signed_in(staff("olga", "administrator", apps=["shop"]))
    for model in ("device", "mobileuser", "dataversemapping", "apikey", "pause", "mobileapp"):
        page = client.get(reverse(f"admin:registry_{model}_changelist")).content.decode()
        assert "shop" in page, model
        assert "bank" not in page, model
    assert "no app" not in client.get("/admin/").content.decode()


@pytest.mark.parametrize("path", ["change", "history", "delete", "whole_token"])
def test_no_page_of_another_app_s_row_opens(two: tuple[MobileApp, MobileApp], path: str) -> None:
    client = signed_in(staff("olga", "administrator", apps=["shop"]))
    device = Device.objects.get(installation_id="phone-of-bank")
    for method in (client.get, client.post):
        answer = method(f"/admin/registry/device/{device.pk}/{path.replace('_', '-')}/", follow=True)
        assert "token-of-bank" not in answer.content.decode()
        assert "phone-of-bank" not in answer.content.decode()


def test_an_action_leaves_the_rows_of_other_apps_alone(two: tuple[MobileApp, MobileApp]) -> None:
    client = signed_in(staff("olga", "administrator", apps=["shop"]))
    every = list(ApiKey.objects.values_list("pk", flat=True))
    client.post("/admin/registry/apikey/", {"action": "revoke", "_selected_action": every, "confirmed": "1"})
    assert [key.name for key in ApiKey.objects.filter(revoked_at__isnull=False)] == ["key of shop"]


def test_a_form_offers_and_takes_only_apps_that_one_sees(two: tuple[MobileApp, MobileApp]) -> None:
    shop, bank = two
    client = signed_in(staff("olga", "administrator", apps=["shop"]))
    assert "bank" not in client.get("/admin/registry/apikey/add/").content.decode()
    client.post("/admin/registry/apikey/add/", {"app": bank.pk, "kind": "server", "name": "mine"})
    assert not ApiKey.objects.filter(name="mine").exists()
    client.post("/admin/registry/apikey/add/", {"app": shop.pk, "kind": "server", "name": "mine"})
    assert ApiKey.objects.get(name="mine").app == shop


def test_an_environment_is_changed_by_those_who_see_all_of_its_apps(two: tuple[MobileApp, MobileApp]) -> None:
    page = reverse("admin:registry_dataverseenvironment_change", args=[two[0].dataverse_id])
    some = signed_in(staff("olga", "administrator", apps=["shop"]))
    assert some.get(page).status_code == 200
    assert some.post(page, {"name": "mine"}).status_code == 403
    assert signed_in(staff("vera", "administrator", apps=["shop", "bank"])).post(page, {}).status_code == 200


def test_an_account_without_apps_sees_none_and_a_superuser_all(two: tuple[MobileApp, MobileApp]) -> None:
    user = staff("olga", "administrator")
    AppScope.objects.all().delete()
    assert "phone-of" not in signed_in(user).get("/admin/registry/device/").content.decode()
    root = signed_in(User.objects.create_superuser("root"))
    assert "phone-of-bank" in root.get("/admin/registry/device/").content.decode()


def test_a_replaced_connection_belongs_to_its_app(two: tuple[MobileApp, MobileApp]) -> None:
    for app in two:
        MobileApp.objects.create(
            slug=f"{app.slug}~1", name="x", org_id=app.org_id, mobile_app_id=app.mobile_app_id, endpoint=app.endpoint,
            api_token="t", dataverse=app.dataverse, replaced_by=app,
        )  # fmt: skip
    page = signed_in(staff("olga", "viewer", apps=["shop"])).get("/admin/registry/replacedconnection/")
    assert "shop~1" in page.content.decode()
    assert "bank~1" not in page.content.decode()


def test_only_who_sees_every_app_manages_accounts(two: tuple[MobileApp, MobileApp]) -> None:
    some = signed_in(staff("olga", "administrator", apps=["shop"]))
    assert some.get("/admin/auth/user/").status_code == 403
    assert signed_in(staff("vera", "administrator")).get("/admin/auth/user/").status_code == 200


def test_an_administrator_makes_nobody_a_superuser(db: None) -> None:
    root = User.objects.create_superuser("root", password="x")
    vera = staff("vera", "administrator")
    client = signed_in(vera)
    page = reverse("admin:auth_user_change", args=[vera.pk])
    form: dict[str, object] = {
        "username": "vera",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "app_scope-TOTAL_FORMS": "0",
    }
    form |= {"app_scope-INITIAL_FORMS": "0", "user_permissions": [str(Permission.objects.all()[0].pk)]}
    client.post(page, form)
    vera.refresh_from_db()
    assert not vera.is_superuser
    assert not vera.user_permissions.exists()
    assert client.post(reverse("admin:auth_user_change", args=[root.pk]), form).status_code == 403
    password = client.post(reverse("admin:auth_user_password_change", args=[root.pk]), {"password1": "y"})
    assert password.status_code == 403
    role = Group.objects.get(name="viewer")
    assert client.post(reverse("admin:auth_group_change", args=[role.pk]), {"name": "x"}).status_code == 403


def test_an_administrator_gives_an_account_a_role_and_apps(two: tuple[MobileApp, MobileApp]) -> None:
    client = signed_in(staff("vera", "administrator"))
    client.post(
        "/admin/auth/user/add/",
        {"username": "nina", "password1": "correct-horse-9", "password2": "correct-horse-9", "usable_password": "true"},
    )
    nina = User.objects.get(username="nina")
    assert scope_of(nina).sees(two[0].pk) is False
    page = reverse("admin:auth_user_change", args=[nina.pk])
    role = Group.objects.get(name="operator")
    form: dict[str, object] = {"username": "nina", "is_active": "on", "is_staff": "on", "groups": [role.pk]}
    form |= {"app_scope-TOTAL_FORMS": "1", "app_scope-INITIAL_FORMS": "0", "app_scope-0-apps": [two[0].pk]}
    form |= {"app_scope-0-user": nina.pk}
    assert client.post(page, form).status_code == 302
    nina = User.objects.get(username="nina")
    assert scope_of(nina).sees(two[0].pk)
    assert not scope_of(nina).sees(two[1].pk)
    assert nina.has_perm("registry.change_registration")


def test_every_table_of_registry_says_whose_its_rows_are() -> None:
    for model, page in admin.site._registry.items():
        assert isinstance(page, ConsoleAdmin), model
        scoped = page.app_path is not None or type(page).limit is not ConsoleAdmin.limit
        assert scoped or model._meta.app_label != "registry", model


def test_a_user_may_be_looked_for_by_those_who_see_the_app(two: tuple[MobileApp, MobileApp]) -> None:
    client = signed_in(staff("olga", "viewer", apps=["shop"]))
    assert MobileUser.objects.count() == 2
    for name, seen in (("user-of-shop", True), ("user-of-bank", False)):
        page = client.get("/admin/registry/mobileuser/", {"q": name}).content.decode()
        assert (f"{name.removeprefix('user-of-')}@example.com" in page) is seen
