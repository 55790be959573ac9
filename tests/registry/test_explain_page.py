"""The explain page, as somebody in the admin sees it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from registry.models import DataverseMapping, Device, MobileApp, MobileUser
from registry.services.access import give
from tests.conftest import Api

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(app: MobileApp) -> Client:
    user = User.objects.create_user("vera", password="x", is_staff=True)
    names = ["view_mobileuser", "view_device", "view_registration"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    give(user.pk, {"shop"})
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, **query: Any) -> str:
    answer = client.get("/admin/explain/", query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_one_hit_is_explained_at_once(viewer: Client, server: Api) -> None:
    server.launch(token="a-very-secret-push-token", user={"id": "anna", "email": "anna@example.com"})
    found = page(viewer, q="anna@example.com")
    assert "0 of 1 living device will receive" in found
    assert "about to be looked up in Dataverse" in found
    assert "First launch (Android), signed in as anna." in found
    assert "…-token" in found
    assert "secret" not in found


def test_several_hits_are_chosen_from(viewer: Client, server: Api) -> None:
    server.launch(user={"id": "anna", "email": "family@example.com"})
    server.launch(installation_id="phone-2", token="token-2", user={"id": "bert", "email": "family@example.com"})
    found = page(viewer, q="family@example.com")
    bert = MobileUser.objects.get(external_id="bert")
    assert f"?user={bert.pk}" in found
    assert "bert" in page(viewer, user=bert.pk)


def test_a_device_of_nobody_is_explained(viewer: Client, server: Api) -> None:
    server.launch()
    found = page(viewer, q="phone-1")
    assert "Nobody is signed in on this device" in found
    assert "Nobody is signed in on this device" in page(viewer, device=Device.objects.get().pk)


def test_who_has_no_device_is_explained(viewer: Client, app: MobileApp) -> None:
    MobileUser.objects.create(app=app, external_id="anna")
    assert "This user has no device." in page(viewer, q="anna")


def test_nothing_found_says_what_was_looked_for(viewer: Client, app: MobileApp) -> None:
    found = page(viewer, q="<script>alert(1)</script>")
    assert "Nobody and nothing is known" in found
    assert "<script>alert" not in found


@pytest.mark.parametrize("query", [{"user": "999"}, {"user": "x"}, {"device": "9" * 30}, {"user": "-1"}])
def test_an_id_that_is_none_is_not_found(viewer: Client, query: dict[str, str]) -> None:
    assert viewer.get("/admin/explain/", query).status_code == 404


def test_users_of_apps_that_one_does_not_see_are_not_found(viewer: Client, make_app: Callable[..., MobileApp]) -> None:
    other = make_app("other")
    user = MobileUser.objects.create(app=other, external_id="zoe", email="zoe@example.com")
    assert "Nobody and nothing is known" in page(viewer, q="zoe@example.com")
    assert viewer.get("/admin/explain/", {"user": user.pk}).status_code == 404


def test_whoever_may_not_see_users_may_not_search(server: Api) -> None:
    client = Client()
    assert client.get("/admin/explain/").status_code == 302
    client.force_login(User.objects.create_user("walter", password="x", is_staff=True))
    assert client.get("/admin/explain/").status_code == 403


def test_a_page_takes_as_many_queries_for_many_devices_as_for_one(viewer: Client, server: Api) -> None:
    counts = []
    for number in range(1, 6):
        server.launch(installation_id=f"phone-{number}", token=f"token-{number}", user={"id": "anna"})
        DataverseMapping.objects.update(state="mapped", table="contact", dataverse_id="0" * 32)
        with CaptureQueriesContext(connection) as queries:
            page(viewer, q="anna")
        counts.append(len(queries))
    assert counts[-1] == counts[1]


def test_the_timeline_goes_on_before_its_oldest_line(viewer: Client, server: Api) -> None:
    server.launch(user={"id": "anna"})
    found = page(viewer, q="anna", before="2026-01-01T00:00:00+00:00")
    assert "Nothing is kept from before." in found
    assert page(viewer, q="anna", before="no time")


def test_the_pages_of_a_user_and_a_device_lead_to_it(viewer: Client, server: Api) -> None:
    server.launch(user={"id": "anna"})
    device = Device.objects.get()
    for model, row, leads_to in (("mobileuser", device.user_id, "user"), ("device", device.pk, "device")):
        page_of_it = viewer.get(f"/admin/registry/{model}/{row}/change/").content.decode()
        assert f"/admin/registry/{model}/{row}/explain/" in page_of_it
        assert "/history/" not in page_of_it, "Django's own, where nothing of these rows is written"
        answer = viewer.get(f"/admin/registry/{model}/{row}/explain/")
        assert answer.headers["Location"] == f"/admin/explain/?{leads_to}={row}"
