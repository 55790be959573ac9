"""The admin's pages in a real browser: with its policy, on a desk and on a phone, by day and by night."""

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


@pytest.mark.parametrize(("size", "theme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk-light", "phone-dark"])
def test_no_page_makes_the_browser_complain(
    tmp_path: Path, chief: User, fleet: None, size: tuple[int, int], theme: Theme
) -> None:
    device = Device.objects.get(installation_id="phone-of-anna")
    with web_server(tmp_path / "web.log") as url, chromium(url, size, theme) as console:
        console.open("/admin/login/")
        shoot(console, f"login-{theme}-{size[0]}")
        console.sign_in(chief)
        pages = [reverse("admin:index"), reverse("admin:registry_device_change", args=[device.pk])]
        for model, model_admin in admin.site._registry.items():
            pages.append(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
            if type(model_admin).has_add_permission is admin.ModelAdmin.has_add_permission:
                pages.append(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add"))
        for path in pages:
            console.open(path)
            assert console.page.locator("#content").is_visible()
            assert console.overflow() <= 0, path
            shoot(console, f"{path.strip('/').replace('/', '-')}-{theme}-{size[0]}")
