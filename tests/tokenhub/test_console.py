"""How the admin is dressed: its policy, and a sidebar that leads only where its reader may go."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles.finders import find
from django.http import HttpRequest
from django.test import Client
from django.urls import resolve, reverse

from registry.models import Device, MobileApp
from tests.conftest import Api
from tests.people import signed_in, staff
from tokenhub.console import SIDEBAR, sidebar
from tokenhub.version import VERSION


def policy(client: Client, path: str) -> dict[str, str]:
    parts = client.get(path).headers["Content-Security-Policy"].split("; ")
    return dict(part.split(" ", 1) for part in parts)


def test_only_the_admin_may_make_functions_of_text_and_nobody_writes_scripts_into_a_page(
    db: None, client: Client
) -> None:
    admin, docs = policy(client, "/admin/login/"), policy(client, "/api/docs")
    assert admin["script-src"] == "'self' 'unsafe-eval'"
    assert docs["script-src"] == "'self'"
    assert admin["style-src"] == docs["style-src"] == "'self'"
    assert admin["style-src-attr"] == "'unsafe-inline'"
    assert "style-src-attr" not in docs
    assert admin["default-src"] == admin["frame-ancestors"] == docs["frame-ancestors"] == "'none'"


def test_the_sidebar_shows_what_one_may_open(db: None) -> None:
    request = HttpRequest()
    request.user = User.objects.create_user("vera", is_staff=True)
    assert [group["title"] for group in sidebar(request)] == [""]
    request.user.user_permissions.set(Permission.objects.filter(codename="view_device"))
    request.user = User.objects.get()
    assert [(group["title"], [item["link"] for item in group["items"]]) for group in sidebar(request)] == [
        ("", ["/admin/"]),
        ("Customers", ["/admin/registry/device/"]),
    ]
    request.user = User.objects.create_superuser("olga")
    assert [len(group["items"]) for group in sidebar(request)] == [len(pages) for _, pages in SIDEBAR]
    request.user = staff("ada", "administrator", apps=[])
    assert [group["title"] for group in sidebar(request)] == [title for title, _ in SIDEBAR[:-1]]


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("/admin/apps/connect/", "Apps"),
        ("/admin/apps/of/shop/", "Apps"),
        ("/admin/import/", "Devices"),
        ("/admin/registry/device/", None),  # by its address: Unfold sees to it
    ],
)
def test_the_sidebar_marks_the_entry_that_a_page_is_below(db: None, path: str, entry: str | None) -> None:
    request = HttpRequest()
    request.user, request.resolver_match = User.objects.create_superuser("olga"), resolve(path)
    marked = [item["title"] for group in sidebar(request) for item in group["items"] if item.get("active")]
    assert marked == ([entry] if entry else [])


def test_the_admin_shows_the_version_to_those_who_are_signed_in(db: None, client: Client) -> None:
    assert VERSION not in client.get("/admin/login/", follow=True).content.decode()
    client.force_login(User.objects.create_superuser("olga"))
    assert VERSION in client.get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/admin/registry/nothing/", 404, "There is nothing here"),
        ("/admin/auth/user/", 403, "Your role does not let you do this"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_said_on_a_page_of_the_admin(
    db: None, path: str, status: int, told: str
) -> None:
    answer = signed_in(staff("vera", "viewer")).get(path)
    assert answer.status_code == status
    text = answer.content.decode()
    assert told in text
    assert reverse("explain") in text, "the menu is there"


def test_a_form_that_is_too_old_is_explained(db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff("vera", "viewer"))
    answer = client.post("/admin/explain/")
    assert answer.status_code == 403
    assert "Nothing was done: open the page again." in answer.content.decode()


def test_browsers_find_the_icon_that_they_ask_for_by_themselves(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/static/tokenhub/favicon.svg")
    assert find("tokenhub/favicon.svg")


def test_lists_are_called_what_they_list_and_an_empty_one_says_what_to_do(db: None) -> None:
    viewer = signed_in(staff("vera", "viewer"))
    text = viewer.get("/admin/registry/device/").content.decode()
    assert "Devices | tokenhub" in text
    assert "Select device" not in text
    assert "A device appears with its phone" in text
    assert "Nothing found" in viewer.get("/admin/registry/device/?q=nobody").content.decode()
    assert "Nothing of that kind" in viewer.get("/admin/registry/device/?show=retired").content.decode()


def heading(client: Client, path: str) -> str:
    """What stands above the page, as it is read."""
    page = client.get(path).content.decode()
    [found] = re.findall(r"<h1 class=\"overflow-hidden.*?</h1>", page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", found).split())


def test_lists_are_called_as_in_the_menu_and_nothing_is_counted_above_them(db: None, client: Client) -> None:
    olga = User.objects.create_superuser("olga")
    client.force_login(olga)
    request = HttpRequest()
    request.user = olga
    for group in sidebar(request)[1:]:
        for entry in group["items"]:
            assert heading(client, entry["link"]) == entry["title"]
    assert heading(client, "/admin/auth/user/?q=olga") == "Accounts Show all"


def test_a_row_is_called_what_it_is_called_and_leads_back_to_its_list(
    app: MobileApp, server: Api, client: Client
) -> None:
    server.launch(installation_id="phone-of-Anna", token="t", user={"id": "anna"})
    client.force_login(User.objects.create_superuser("olga"))
    device = Device.objects.get()
    path = f"/admin/registry/device/{device.pk}/change/"
    assert heading(client, path) == "Devices chevron_right phone-of-Anna"  # an id is written as it is
    user = f"/admin/registry/mobileuser/{device.user_id}/change/"
    assert heading(client, user) == "Users chevron_right anna"
