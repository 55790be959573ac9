"""How the admin is dressed: its policy, and a sidebar that leads only where its reader may go."""

import pytest
from django.contrib.auth.models import Permission, User
from django.http import HttpRequest
from django.test import Client
from django.urls import resolve

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
