import io
import json
from typing import Any

from django.core.management import call_command
from django.utils import timezone

from registry.models import MobileApp
from sync import pauses
from sync.clients.errors import Denied
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


def test_resuming_by_hand_ends_the_pause(app: MobileApp) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    assert pauses.allowance(app, 100) == 0
    assert run("resume_app", "--app", "shop") == "shop resumed.\n"
    assert pauses.allowance(app, 100) == 100
    assert run("resume_app", "--app", "shop") == "shop was not paused.\n"


def test_when_its_time_has_come_one_request_probes(app: MobileApp) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    app.pauses.update(until=timezone.now())
    assert pauses.allowance(app, 100) == 1
    pauses.rest(app, Denied("HTTP 401"))
    assert app.pauses.get().failures == 2
