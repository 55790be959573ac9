import io
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from registry.models import MobileApp, Registration
from sync import pauses
from sync.clients.errors import Denied, Throttled, Unavailable
from sync.status import oldest_due
from tests.conftest import Api


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_it_shows_what_waits_and_what_is_paused(app: MobileApp, server: Api) -> None:
    server.launch(user={"id": "anna", "email": "anna@example.com"})
    pauses.rest(app, Denied("HTTP 401"))
    words = run("sync_status")
    assert "shop: 1 active devices" in words
    assert "mappings      1 pending" in words
    assert "PAUSED        app shop: the credentials are refused [HTTP 401]" in words
    status: dict[str, Any] = json.loads(run("sync_status", "--app", "shop", "--json"))["apps"][0]
    assert status["registrations"]["registered"] == 0
    assert status["oldest_due"]["map"] >= 0
    assert status["oldest_due"]["push"] is None


def test_what_a_person_paused_no_probe_ends_wherever_it_is_shown(app: MobileApp, client: Client) -> None:
    pauses.pause_by_hand(app, "olga", "a wrong campaign")
    client.force_login(User.objects.create_superuser("root"))
    pages = [client.get(path).content.decode() for path in ("/admin/", "/admin/registry/pause/")]
    for told in (run("sync_status"), *pages):
        assert "by olga: a wrong campaign" in told
        assert "next probe 2" not in told
    assert "none: until a person resumes it" in pages[1]
    assert json.loads(run("sync_status", "--json"))["apps"][0]["pauses"][0]["next_probe"] is None


@pytest.mark.parametrize("urgent", [True, False])
def test_the_oldest_that_is_due_is_told_whether_it_is_urgent_or_not(app: MobileApp, urgent: bool) -> None:
    now = timezone.now()
    for token, due, pressing in (("a", 90, urgent), ("b", 60, not urgent)):
        Registration.objects.create(
            app=app, table="contact", dataverse_id=uuid.uuid4(), platform="android", token=token, urgent=pressing,
            token_hash=token.encode() * 32, due_at=now - timedelta(seconds=due),
        )  # fmt: skip
    assert oldest_due(app, now)["push"] == 90


def test_resuming_by_hand_ends_the_pause(app: MobileApp) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    assert pauses.gate(app, 100).limit == 0
    assert run("resume_app", "--app", "shop") == "shop resumed; 0 failed registrations are tried again.\n"
    assert pauses.gate(app, 100).limit == 100
    assert run("resume_app", "--app", "shop") == "shop was not paused; 0 failed registrations are tried again.\n"


def test_when_its_time_has_come_one_request_probes(app: MobileApp) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    app.pauses.update(until=timezone.now())
    assert pauses.gate(app, 100).limit == 1
    pauses.rest(app, Denied("HTTP 401"))
    assert app.pauses.get().failures == 2


def test_the_tenth_call_in_a_row_without_an_answer_opens_the_circuit(app: MobileApp) -> None:
    for _ in range(settings.TOKENHUB_CIRCUIT_FAILURES - 1):
        pauses.rest(app, Unavailable("HTTP 500"))
    assert pauses.gate(app, 100).limit == 100
    assert "PAUSED" not in run("sync_status")
    pauses.rest(app, Unavailable("HTTP 500"))
    assert pauses.gate(app, 100).limit == 0
    assert "PAUSED" in run("sync_status")
    assert app.pauses.get().until <= timezone.now() + settings.TOKENHUB_PROBE


def test_a_success_between_them_starts_the_count_anew(app: MobileApp) -> None:
    for _ in range(settings.TOKENHUB_CIRCUIT_FAILURES - 1):
        pauses.rest(app, Unavailable("HTTP 500"))
    pauses.gate(app, 100).heed(None)
    pauses.rest(app, Unavailable("HTTP 500"))
    assert app.pauses.get().failures == 1


def test_throttling_rests_for_as_long_as_it_was_asked_to(app: MobileApp) -> None:
    pauses.rest(app, Throttled("HTTP 429", 77))
    remaining = (app.pauses.get().until - timezone.now()).total_seconds()
    assert 76 < remaining <= 77
