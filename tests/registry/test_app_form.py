"""An app that is changed in the admin is checked as a new one is."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from registry.models import MobileApp
from tests.forms import as_posted
from tests.people import signed_in, staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def chief() -> Client:
    return signed_in(staff("vera", "administrator"))


def save(client: Client, app: MobileApp, **changed: Any) -> dict[str, list[str]]:
    """Change fields on the app's page; return what is wrong with them."""
    page = reverse("admin:registry_mobileapp_change", args=[app.pk])
    form = client.get(page).context["adminform"].form
    answer = client.post(page, {**as_posted(form), **changed})
    return {} if answer.status_code == 302 else dict(answer.context["adminform"].form.errors)


def test_the_order_of_tables_is_chosen_place_by_place(chief: Client, app: MobileApp) -> None:
    assert save(chief, app, match_0="profile", match_1="", match_2="contact", match_by_0="phone", match_by_1="") == {}
    app.refresh_from_db()
    assert (app.match, app.match_by) == (["profile", "contact"], ["phone"])
    page = chief.get(reverse("admin:registry_mobileapp_change", args=[app.pk])).content.decode()
    assert page.index('value="profile" selected') < page.index('value="contact" selected')


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("match", {"match_1": "contact"}),
        ("match", {"match_0": "account"}),
        ("match_by", {"match_by_0": "", "match_by_1": ""}),
        ("default_region", {"default_region": "XX"}),
    ],
)
def test_what_would_find_nobody_is_refused(chief: Client, app: MobileApp, field: str, changed: dict[str, str]) -> None:
    assert list(save(chief, app, **changed)) == [field]


def test_an_app_is_not_deleted_and_nobody_collects_all_that_belongs_to_it(app: MobileApp) -> None:
    superuser = signed_in(User.objects.create_superuser("root"))
    assert superuser.post(reverse("admin:registry_mobileapp_delete", args=[app.pk]), {"post": "yes"}).status_code == 403
    everything = {"action": "delete_selected", "_selected_action": [app.pk], "post": "yes"}
    superuser.post(reverse("admin:registry_mobileapp_changelist"), everything)
    assert MobileApp.objects.exists()
    assert "When the app ends" in superuser.get(reverse("app", args=[app.slug])).content.decode()
