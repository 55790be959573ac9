"""CI-J calls back: the poll is woken, and nothing else."""

import hmac
import json
import time
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from registry.models import Registration
from registry.states import Step
from sync import connect
from sync.outbox import claim
from tests.sandbox_process import API_TOKEN, World


@pytest.fixture
def called_back(world: World, live_server: LiveServer, settings: Settings) -> World:
    """A world whose CI-J can reach us, and whose first poll would come much too late."""
    settings.TOKENHUB_PUBLIC_URL = live_server.url
    settings.TOKENHUB_FIRST_POLL = timedelta(minutes=10)
    world.microsoft.settings(processing_delay=0.5)
    return world


@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
def test_a_callback_wakes_the_poll(called_back: World, encoding: str) -> None:
    called_back.microsoft.settings(signature_encoding=encoding)
    called_back.contact(emailaddress1="anna@example.com")
    called_back.server.launch(user={"id": "anna", "email": "anna@example.com"})
    called_back.work_until(lambda: called_back.server.state() == "registered")
    assert len(called_back.microsoft.calls("status")) == 1


def test_a_forged_callback_wakes_nothing(called_back: World) -> None:
    called_back.microsoft.set_outcomes({"token-1": "Pending"})
    called_back.contact(emailaddress1="anna@example.com")
    called_back.server.launch(user={"id": "anna", "email": "anna@example.com"})
    called_back.work_until(lambda: Registration.objects.filter(state="sent").exists())
    row = Registration.objects.get()
    url = f"/cij/callbacks/{row.batch_id}"
    assert row.batch_id is not None
    expected = connect.callback(row.batch_id)
    assert expected is not None
    client = Client()
    body = {"Status": "Success", "Signature": "0" * 64}
    signed = {**body, "Signature": hmac.digest(API_TOKEN.encode(), expected.url.encode(), "sha256").hex()}
    no_secret = client.post(url, json.dumps(signed), content_type="application/json")
    headers = {"X-Tokenhub-Callback": expected.secret}
    no_signature = client.post(url, json.dumps(body), content_type="application/json", headers=headers)
    rubbish = client.post(url, b"\xff[", content_type="application/json", headers=headers)
    assert [no_secret.status_code, no_signature.status_code, rubbish.status_code] == [404, 404, 404]
    row.refresh_from_db()
    assert row.due_at is not None
    assert row.due_at > timezone.now() + timedelta(minutes=5)
    # With both it does.
    assert client.post(url, json.dumps(signed), content_type="application/json", headers=headers).status_code == 202
    row.refresh_from_db()
    assert row.due_at <= timezone.now()


def test_a_callback_ends_no_lease(called_back: World) -> None:
    """A worker asks already: a second one must not start beside it."""
    called_back.contact(emailaddress1="anna@example.com")
    called_back.server.launch(user={"id": "anna", "email": "anna@example.com"})
    called_back.work_until(lambda: Registration.objects.filter(state="sent").exists())
    Registration.objects.update(due_at=timezone.now())
    [leased] = claim(called_back.app, Step.CONFIRM).rows
    ends = time.monotonic() + 15
    while not called_back.microsoft.callbacks():
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert called_back.microsoft.callbacks()[0].answer == 202
    assert Registration.objects.get().due_at == leased.due_at
