"""What needs a person: on the command line, on the admin's first page."""

import io
import json
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from registry.crypto import sha256
from registry.models import DataverseMapping, Erasure, MobileApp, Pause, Registration
from registry.services.erasure import erase_user
from registry.states import FailureReason
from sync import pauses
from sync.alerts import _MEND, Kind, open_alerts
from sync.clients.errors import Denied, Unavailable
from tests.conftest import Api

ANNA = {"id": "anna", "email": "anna@example.com"}


def ago(**units: float) -> datetime:
    return timezone.now() - timedelta(**units)


def found() -> list[tuple[Kind, str]]:
    return [(alert.kind, alert.subject) for alert in open_alerts()]


def registration(app: MobileApp, token: str, **fields: object) -> Registration:
    return Registration.objects.create(
        app=app,
        table="contact",
        dataverse_id=uuid4(),
        platform="android",
        token=token,
        token_hash=sha256(token),
        **{"due_at": None, **fields},
    )


def test_where_all_is_well_there_is_nothing_to_tell(app: MobileApp, server: Api) -> None:
    server.launch(user=ANNA)
    pauses.rest(app, Unavailable("HTTP 500"))  # counted, not yet a pause
    assert open_alerts() == []
    assert not run("--fail-on-alert").startswith("ALERT")


@pytest.mark.parametrize("kind", ["app", "platform", "environment"])
def test_a_pause_says_since_when_why_and_who_must_do_what(app: MobileApp, kind: str) -> None:
    if kind == "platform":
        Pause.objects.create(app=app, platform="ios", reason="dry_run", failures=20, until=timezone.now())
    else:
        pauses.rest(app if kind == "app" else app.dataverse, Denied("HTTP 401"))
    [alert] = open_alerts()
    subjects = {"app": "app shop", "platform": "app shop (ios)", "environment": "Dataverse environment contoso"}
    assert (alert.kind, alert.subject) == (Kind.PAUSED, subjects[kind])
    assert alert.to_do.startswith("An administrator: ")
    assert alert.since == Pause.objects.get().created_at


def test_every_reason_to_pause_has_its_advice() -> None:
    assert set(Pause._meta.get_field("reason").choices or []) == {(reason.value, reason.label) for reason in _MEND}


@pytest.mark.parametrize("queue", ["map", "push", "relay"])
def test_a_queue_that_does_not_move_is_told_unless_it_rests(app: MobileApp, server: Api, queue: str) -> None:
    server.launch(user=ANNA)
    if queue == "map":
        DataverseMapping.objects.update(due_at=ago(minutes=16))
    elif queue == "push":
        DataverseMapping.objects.update(due_at=None)
        registration(app, "t", due_at=ago(minutes=16))
    else:
        server.post("events", {"installation_id": "phone-1", "tracking_id": str(uuid4()), "status": "opened"})
        app.events.update(due_at=ago(minutes=16))
    [alert] = open_alerts()
    assert (alert.kind, alert.subject) == (Kind.STALLED, f"app shop: {queue}")
    assert "waits for 16 min" in alert.what
    pauses.rest(app.dataverse if queue == "map" else app, Denied("HTTP 401"))
    assert [kind for kind, _ in found()] == [Kind.PAUSED]


def test_the_time_until_a_queue_counts_as_stalled_can_be_set(app: MobileApp, settings: Settings) -> None:
    settings.TOKENHUB_STALLED_AFTER = timedelta(minutes=60)
    registration(app, "t", due_at=ago(minutes=59))
    assert open_alerts() == []
    Registration.objects.update(due_at=ago(minutes=61))
    assert found() == [(Kind.STALLED, "app shop: push")]


def test_overdue_erasures_are_told_once_an_app_until_they_are_over(app: MobileApp, server: Api) -> None:
    receipts = []
    for name in ("anna", "bert"):
        server.launch(installation_id=name, token=name, user={"id": name})
        receipts.append(erase_user(app, name, "command line"))
    Erasure.objects.update(requested_at=ago(hours=71))
    assert found() == []
    Erasure.objects.update(requested_at=ago(hours=73))
    Erasure.objects.filter(pk=receipts[1].pk).update(requested_at=ago(hours=80))
    [alert] = open_alerts()
    assert (alert.kind, alert.subject) == (Kind.ERASURE_OVERDUE, "app shop")
    assert "2 erasures" in alert.what
    assert str(receipts[1].pk) in alert.what
    for receipt in receipts:
        call_command("erasure", str(receipt.pk), "--force", "--note", "a test", stdout=io.StringIO())
    assert found() == []


def test_registrations_without_any_outcome_are_told(app: MobileApp) -> None:
    unknown = {"state": "failed", "decided_at": ago(hours=1)}
    for number in range(3):
        registration(app, f"t{number}", reason=FailureReason.UNKNOWN.value, **unknown)
    registration(app, "dead", reason=FailureReason.DRY_RUN.value, **unknown)
    registration(app, "gone", reason=FailureReason.UNKNOWN.value, desired=False, **unknown)
    [alert] = open_alerts()
    assert alert.kind is Kind.UNKNOWN_OUTCOME
    assert alert.what.startswith("3 registrations")


def test_a_secret_that_cannot_be_read_hides_no_alert(app: MobileApp) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    registration(app, "t", reason=FailureReason.UNKNOWN.value, state="failed", decided_at=ago(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE registry_mobileapp SET api_token = 'rubbish'")
        cursor.execute("UPDATE registry_dataverseenvironment SET client_secret = 'rubbish'")
    assert {kind for kind, _ in found()} == {Kind.PAUSED, Kind.UNKNOWN_OUTCOME}


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("sync_status", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_line_shows_them_first_and_can_fail_for_scripts(app: MobileApp) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    first, second, *_ = run().splitlines()
    assert first.startswith("ALERT paused, app shop, since ")
    assert "the credentials are refused [HTTP 401]" in first
    assert "manage.py set_client_secret or set_api_token" in second
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 alerts are open") as error:
        call_command("sync_status", "--json", "--fail-on-alert", stdout=out)
    assert error.value.returncode == 1
    [alert] = json.loads(out.getvalue())["alerts"]
    assert (alert["kind"], alert["subject"]) == ("paused", "app shop")


def test_the_admins_first_page_shows_them(app: MobileApp) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    assert "Paused, app shop" not in client.get("/admin/").content.decode()
    pauses.rest(app, Denied("<b>HTTP 401</b>"))
    page = client.get("/admin/").content.decode()
    assert "Paused, app shop" in page
    assert "&lt;b&gt;HTTP 401" in page
    assert "No figures yet" in page  # and the figures below, once they are counted
    assert "<script>" not in page
