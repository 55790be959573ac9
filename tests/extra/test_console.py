"""The admin's pages in a real browser: with its policy, on a desk and on a phone, by day and by night."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse

from registry.models import Device, MobileApp
from tests.conftest import Api
from tests.extra.browser import DESK, PHONE, Theme, chromium, shoot
from tests.web import web_server

pytestmark = [pytest.mark.extra, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def chief() -> User:
    return User.objects.create_superuser("olga", password="correct-horse-9")


@pytest.fixture
def fleet(app: MobileApp, server: Api) -> None:
    for name in ("anna", "bert", "carla"):
        user = {"id": name, "email": f"{name}@example.com"}
        server.launch(installation_id=f"phone-of-{name}", token=f"token-of-{name}", user=user)


def paths(device: Device, account: User) -> Iterator[str]:
    """Every page that nothing has to be filled in for."""
    for name in ("admin:index", "explain", "unresolved", "connect_app", "opens", "import_devices"):
        yield reverse(name)
    yield from ("/admin/explain/?q=anna@example.com", "/admin/unresolved/?state=not_found", "/admin/apps/of/shop/")
    for name, pk in (("device", device.pk), ("mobileuser", device.user_id), ("mobileapp", device.app_id)):
        yield reverse(f"admin:registry_{name}_change", args=[pk])
    yield reverse("admin:auth_user_change", args=[account.pk])
    for model, model_admin in admin.site._registry.items():
        yield reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        if type(model_admin).has_add_permission is admin.ModelAdmin.has_add_permission:
            yield reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


@pytest.mark.parametrize(("size", "theme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk-light", "phone-dark"])
def test_no_page_makes_the_browser_complain(
    tmp_path: Path, chief: User, fleet: None, size: tuple[int, int], theme: Theme
) -> None:
    device = Device.objects.get(installation_id="phone-of-anna")
    with web_server(tmp_path / "web.log") as url, chromium(url, size, theme) as console:
        console.open("/admin/login/")
        shoot(console, f"login-{theme}-{size[0]}")
        console.sign_in(chief)
        for path in paths(device, chief):
            console.open(path)
            assert console.page.locator("#content").is_visible()
            assert console.overflow() <= 0, path
            assert console.barriers() == [], path
            assert console.page.title().endswith("tokenhub"), path
            shoot(console, f"{path.strip('/').replace('/', '-')}-{theme}-{size[0]}")


def test_the_keyboard_alone_gets_to_an_explanation_and_past_the_menu(tmp_path: Path, chief: User, fleet: None) -> None:
    with web_server(tmp_path / "web.log", workers=1) as url, chromium(url) as console:
        console.sign_in(chief)
        page = console.open("/admin/explain/")
        page.wait_for_function("document.activeElement.id === 'q'")
        page.keyboard.type("anna")
        page.keyboard.press("Enter")
        page.get_by_text("First launch (Android), signed in as anna.").wait_for()
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Skip the menu"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.locator(":focus").get_attribute("id") == "q"


def test_a_form_on_a_phone_has_all_its_fields(tmp_path: Path, chief: User, fleet: None) -> None:
    """Lists leave columns out there, and the rows of a form have the same names."""
    app = MobileApp.objects.get()
    with web_server(tmp_path / "web.log", workers=1) as url, chromium(url, PHONE) as console:
        console.sign_in(chief)
        for path, fields in {
            reverse("admin:auth_user_change", args=[chief.pk]): ("email", "is_superuser"),
            reverse("admin:registry_mobileapp_change", args=[app.pk]): ("dataverse", "identity"),
            reverse("admin:registry_dataverseenvironment_add"): ("tenant",),
            reverse("admin:registry_tokenissuer_add"): ("audience", "jwks_url"),
        }.items():
            page = console.open(path)
            for field in fields:
                assert page.locator(f".field-{field}").first.is_visible(), (path, field)


def test_the_menu_and_the_way_out_are_reached_by_the_keyboard_on_a_phone(tmp_path: Path, chief: User) -> None:
    with web_server(tmp_path / "web.log", workers=1) as url, chromium(url, PHONE) as console:
        console.sign_in(chief)
        page = console.open("/admin/registry/mobileapp/")
        console.tab_to("Menu")
        page.keyboard.press("Enter")
        console.tab_to("Explain", "Shift+Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/admin/explain/")
        console.tab_to("Menu")
        page.keyboard.press("Space")
        console.tab_to("olga", "Shift+Tab")
        page.keyboard.press("Enter")
        console.tab_to("Log out", "Shift+Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/admin/logout/")


def test_a_list_is_narrowed_by_the_keyboard(tmp_path: Path, chief: User, fleet: None) -> None:
    with web_server(tmp_path / "web.log", workers=1) as url, chromium(url, PHONE, "dark") as console:
        console.sign_in(chief)
        page = console.open("/admin/registry/device/")
        console.tab_to("Filters")
        page.keyboard.press("Enter")
        console.tab_to("iOS")
        page.keyboard.press("Enter")
        page.get_by_text("Nothing of that kind").wait_for()
