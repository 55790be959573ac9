"""Receipts in the admin, and the end by force."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from registry.models import Device, Erasure, MobileApp
from registry.services.erasure import erase_user
from tests.conftest import Api
from tests.people import signed_in, staff


@pytest.fixture
def erasure(app: MobileApp, server: Api) -> Erasure:
    server.launch(user={"id": "anna", "email": "anna@example.com"})
    return erase_user(app, "anna", "command line")


def admin(*permissions: str) -> Client:
    return signed_in(staff("olga", permissions=permissions))


def page(erasure: Erasure) -> str:
    return f"/admin/registry/erasure/{erasure.pk}/change/"


def test_an_administrator_forces_the_end_with_a_note_and_is_named(erasure: Erasure) -> None:
    client = admin("view_erasure", "change_erasure")
    assert "Delete now" in client.get(page(erasure)).content.decode()
    answer = client.post(page(erasure), {"note": "CI-J was switched off", "force": "on"})
    assert answer.status_code == 302
    erasure.refresh_from_db()
    assert (erasure.state, erasure.finished_by, erasure.note) == ("forced", "olga", "CI-J was switched off")
    assert not Device.objects.exists()
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (
        str(erasure.pk),
        "Forced to its end: CI-J was switched off",
    )
    # Over: shown, and nothing to press.
    assert "Delete now" not in client.get(page(erasure)).content.decode()
    assert client.post(page(erasure), {"note": "again", "force": "on"}).status_code == 403


@pytest.mark.parametrize("form", [{"note": "", "force": "on"}, {"note": "why"}])
def test_without_a_note_or_the_tick_nothing_is_forced(erasure: Erasure, form: dict[str, str]) -> None:
    answer = admin("view_erasure", "change_erasure").post(page(erasure), form)
    assert "This field is required" in answer.content.decode()
    erasure.refresh_from_db()
    assert erasure.state == "waiting"


def test_who_may_only_look_forces_nothing(erasure: Erasure) -> None:
    client = admin("view_erasure")
    assert "Delete now" not in client.get(page(erasure)).content.decode()
    assert client.post(page(erasure), {"note": "why", "force": "on"}).status_code == 403
    listed = client.get("/admin/registry/erasure/", {"state__exact": "waiting"}).content.decode()
    assert str(erasure.pk) in listed
