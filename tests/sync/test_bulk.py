"""Bulk actions: asked for in a list, done by workers, stopped, and never done twice or half."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils.text import capfirst

from registry.models import (
    BulkError,
    BulkJob,
    BulkPart,
    DataverseMapping,
    Device,
    HistoryEntry,
    MobileApp,
    MobileUser,
    Registration,
)
from registry.services import bulk_jobs as service
from registry.services import tables
from registry.services.access import give
from registry.services.decisions import pin
from registry.services.keys import create_key
from registry.states import BulkKind, BulkState, RetiredReason
from sync.steps import bulk
from tests.conftest import Api
from tests.people import signed_in, staff

ROOT = Path(__file__).resolve().parents[2]
DEVICES, REGISTRATIONS = "/admin/registry/device/", "/admin/registry/registration/"


@pytest.fixture
def operator(app: MobileApp) -> Client:
    return signed_in(staff("olga", "operator", apps=["shop"]))


def many(app: MobileApp, count: int) -> None:
    """Devices of nobody, and a registration of each, which failed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO registry_device (app_id, installation_id, platform, token, token_hash, app_version, os_version,
                model, locale, time_zone, retired_reason, user_tokens_from, revision, planned_revision)
            SELECT %s, 'phone-' || n, 'android', 'token-' || n, sha256(('token-' || n)::bytea), '', '', '', '', '', '',
                0, 1, 1 FROM generate_series(1, %s) n
            """,
            [app.pk, count],
        )
        cursor.execute(
            """
            INSERT INTO registry_registration (app_id, device_id, "table", dataverse_id, platform, token, token_hash,
                desired, state, reason, detail, attempts, rounds, maybe_held, recheck, in_flight, claim_no, due_at)
            SELECT app_id, id, 'contact', gen_random_uuid(), platform, token, token_hash, true, 'failed', 'Unknown', '',
                3, 0, false, false, false, 0, NULL FROM registry_device WHERE app_id = %s
            """,
            [app.pk],
        )


def ask(client: Client, path: str, kind: str, ids: list[int] | None = None) -> BulkJob:
    """Tick these rows of a list, or all that it shows; say what is to be done; confirm it."""
    form: dict[str, object] = {"action": kind, "select_across": "0" if ids is not None else "1", "index": "0"}
    form["_selected_action"] = ids if ids is not None else [0]  # a browser sends those of the page along
    asked = client.post(path, form)
    assert asked.status_code == 200
    assert "confirmed" in asked.content.decode()
    assert not BulkJob.objects.exists(), "nothing is done before it is confirmed"
    answer = client.post(path, form | {"confirmed": "1"})
    job = BulkJob.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == f"/admin/registry/bulkjob/{job.pk}/change/"
    return job


def work(job: BulkJob) -> BulkJob:
    while bulk.run_batch():
        pass
    job.refresh_from_db()
    return job


def page(client: Client, job: BulkJob, part: str = "") -> str:
    text = client.get(f"/admin/registry/bulkjob/{job.pk}/change/{part}").content.decode()
    return " ".join(re.sub("<[^>]+>", " ", text).split())


@pytest.mark.django_db
def test_all_failed_registrations_of_the_list_are_tried_again(
    app: MobileApp, operator: Client, make_app: Callable[..., MobileApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 3)
    many(app, 8)
    many(make_app("bank"), 2)
    too_long = Registration.objects.filter(app=app).first()
    assert too_long
    Registration.objects.filter(pk=too_long.pk).update(reason="DeviceTokenTooLong")
    job = ask(operator, f"{REGISTRATIONS}?show=failed", "retry")
    assert "waits for a worker" in page(operator, job).lower()
    assert bulk.run_batch() == 3
    assert "3 of 8" in page(operator, job, "?part")
    work(job)
    assert (job.state, job.done, job.changed, job.total) == (BulkState.DONE, 8, 7, 8)
    due = Registration.objects.filter(due_at__isnull=False)
    assert {(row.app_id, row.attempts) for row in due} == {(app.pk, 0)}
    assert not due.filter(pk=too_long.pk).exists()
    assert "8 of 8 Changed 7 Errors 0 Asked for by olga" in page(operator, job)
    told = "Try failed ones again: done to 7 of 8; 1 stayed as they were, since it does not apply to them."
    assert told in page(operator, job)
    assert LogEntry.objects.filter(object_repr__startswith="try again", actor__username="olga").exists()


@pytest.mark.django_db
def test_ticked_devices_are_retired_by_whoever_asked_and_others_stay(app: MobileApp, operator: Client) -> None:
    many(app, 4)
    ids = list(Device.objects.order_by("pk").values_list("pk", flat=True)[:2])
    work(ask(operator, DEVICES, "retire", ids))
    retired = Device.objects.filter(retired_at__isnull=False)
    assert sorted(retired.values_list("pk", flat=True)) == ids
    assert {device.retired_reason for device in retired} == {RetiredReason.BY_HAND}
    assert set(HistoryEntry.objects.filter(device__in=ids, kind=6).values_list("by", flat=True)) == {"olga"}
    assert all(device.revision > device.planned_revision for device in retired), "the planner cleans up after them"


@pytest.mark.django_db
def test_devices_are_checked_now(app: MobileApp, operator: Client, server: Api) -> None:
    server.launch(installation_id="phone-of-anna", token="token-of-anna", user={"id": "anna"})
    device = Device.objects.get()
    Device.objects.update(planned_revision=device.revision)
    many(app, 1)
    Registration.objects.filter(token="token-1").update(device=device, state="registered", due_at=None)
    Registration.objects.exclude(token="token-1").delete()
    job = work(ask(operator, DEVICES, "check"))
    assert (job.done, job.changed) == (2, 1)
    device.refresh_from_db()
    assert device.revision > device.planned_revision
    assert Registration.objects.get().due_at is not None, "it is registered once more"


@pytest.mark.django_db
@pytest.mark.parametrize("table", ["mobileuser", "dataversemapping"])
def test_users_are_mapped_again(operator: Client, server: Api, table: str) -> None:
    server.launch(user={"id": "anna", "email": "anna@example.com"})
    DataverseMapping.objects.update(state="ambiguous", due_at=None, attempts=4)
    work(ask(operator, f"/admin/registry/{table}/", "map_again"))
    mapping = DataverseMapping.objects.get()
    assert (mapping.due_at is not None, mapping.attempts, mapping.decided_by) == (True, 0, "olga")


@pytest.mark.django_db
def test_only_users_who_were_not_found_are_mapped_again(
    operator: Client, server: Api, make_app: Callable[..., MobileApp]
) -> None:
    theirs = Api(create_key(app=make_app("bank"), kind="server"))
    states = {"anna": "not_found", "bert": "ambiguous", "cleo": "mapped", "dora": "not_found"}
    for name, state in states.items():
        client = theirs if name == "dora" else server
        client.launch(installation_id=name, token=f"token-of-{name}", user={"id": name})
        DataverseMapping.objects.filter(user__external_id=name).update(state=state, due_at=None)
    job = work(ask(operator, "/admin/registry/dataversemapping/?show=not_found", "map_again"))
    assert (job.total, job.changed) == (1, 1)
    due = DataverseMapping.objects.filter(due_at__isnull=False)
    assert list(due.values_list("user__external_id", flat=True)) == ["anna"]


@pytest.mark.django_db
def test_nobody_has_done_what_they_may_not_or_where_they_may_not(
    app: MobileApp, make_app: Callable[..., MobileApp]
) -> None:
    bank = make_app("bank")
    many(bank, 2)
    form = {"action": "retire", "index": "0", "confirmed": "1"}
    signed_in(staff("vera", "viewer")).post(DEVICES, form | {"select_across": "1", "_selected_action": "0"})
    assert not BulkJob.objects.exists()
    olga = signed_in(staff("olga", "operator", apps=["shop"]))
    theirs = [str(pk) for pk in Device.objects.values_list("pk", flat=True)]
    for across in "01":
        chosen = {"select_across": across, "_selected_action": theirs}
        assert olga.post(f"{DEVICES}?app={bank.pk}", form | chosen).status_code == 302
    assert BulkJob.objects.count() == 2
    for job in BulkJob.objects.all():
        assert work(job).done == 0
    assert not Device.objects.filter(retired_at__isnull=False).exists()
    mine = signed_in(staff("nina", "operator", apps=["bank"]))
    other = BulkJob.objects.first()
    assert other
    assert mine.get(f"/admin/registry/bulkjob/{other.pk}/change/").status_code == 403
    assert mine.post(f"/admin/registry/bulkjob/{other.pk}/change/").status_code == 403


@pytest.mark.django_db
def test_a_stopped_action_stays_where_it_was(app: MobileApp, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH", 2)
    many(app, 5)
    job = ask(operator, DEVICES, "retire")
    bulk.run_batch()
    operator.post(f"/admin/registry/bulkjob/{job.pk}/change/")
    assert (work(job).state, job.done) == (BulkState.STOPPED, 2)
    assert Device.objects.filter(retired_at__isnull=False).count() == 2
    assert "Stopped by olga" in page(operator, job)


@pytest.mark.django_db
def test_a_viewer_looks_at_an_action_and_does_not_stop_it(app: MobileApp, operator: Client) -> None:
    many(app, 1)
    job = ask(operator, DEVICES, "retire")
    vera = signed_in(staff("vera", "viewer"))
    assert "Rows looked at" in page(vera, job)
    assert "Stop" not in page(vera, job)
    assert vera.post(f"/admin/registry/bulkjob/{job.pk}/change/").status_code == 403
    assert (work(job).state, job.changed) == (BulkState.DONE, 1)


@pytest.mark.django_db
def test_what_somebody_asked_for_in_an_app_that_they_see_no_more_is_not_shown(
    app: MobileApp, operator: Client, make_app: Callable[..., MobileApp]
) -> None:
    many(app, 1)
    job = ask(operator, DEVICES, "retire")
    file = SimpleUploadedFile("devices.csv", b"installation_id,platform,token\nphone-7,x,token-7\n")
    operator.post("/admin/import/", {"app": app.pk, "file": file})
    every = [job.pk, BulkJob.objects.latest("pk").pk]
    paths = [f"/admin/registry/bulkjob/{pk}/change/{part}" for pk in every for part in ("", "?part", "?errors")]
    assert [operator.get(path).status_code for path in paths] == [200] * 6
    make_app("bank")
    give(User.objects.get(username="olga").pk, {"bank"})
    assert [operator.get(path).status_code for path in paths] == [403] * 6
    assert operator.post(paths[0]).status_code == 403
    assert "devices.csv" not in operator.get("/admin/registry/bulkjob/").content.decode()


@pytest.mark.django_db
def test_rows_that_come_later_are_not_meant(app: MobileApp, operator: Client, server: Api) -> None:
    many(app, 2)
    job = ask(operator, DEVICES, "retire")
    server.launch(installation_id="latecomer", token="token-of-latecomer")
    work(job)
    assert Device.objects.get(retired_at__isnull=True).installation_id == "latecomer"


@pytest.mark.django_db
def test_a_file_is_imported_and_each_bad_row_is_told(app: MobileApp, operator: Client) -> None:
    lines = ["installation_id,platform,token,user.id", *(f"phone-{n},android,token-{n},user-{n}" for n in range(450))]
    lines[7] = "phone-6,windows,token-6,"
    file = SimpleUploadedFile("devices.csv", "\n".join(lines).encode())
    answer = operator.post("/admin/import/", {"app": app.pk, "file": file})
    assert answer.status_code == 302, answer.content.decode()
    job = BulkJob.objects.get()
    assert bulk.run_batch() == 200
    work(job)
    assert (job.state, job.done, job.changed, job.failed) == (BulkState.DONE, 450, 449, 1)
    assert Device.objects.count() == 449
    shown = page(operator, job)
    assert "Line 8: platform: " in shown
    assert f"Bulk actions chevron_right {capfirst(str(job))}" in shown, "the page says which one it is about"
    assert "450 rows: 449 made or changed a device, 0 were known already" in page(operator, job)
    assert "and 1 have errors and were left out." in page(operator, job)
    streamed = operator.get(f"/admin/registry/bulkjob/{job.pk}/change/?errors")
    assert json.loads(b"".join(streamed))["line"] == 8
    assert not BulkPart.objects.exists(), "the file is not kept"
    assert BulkError.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("devices.txt", b"x", "must be a .csv or a .jsonl file"),
        ("devices.csv", b"phone,platform\n", "Columns unknown"),
        ("devices.csv", b"", "empty"),
    ],
)
def test_a_useless_file_is_refused_at_once(
    app: MobileApp, operator: Client, name: str, content: bytes, told: str
) -> None:
    answer = operator.post("/admin/import/", {"app": app.pk, "file": SimpleUploadedFile(name, content)})
    assert told in answer.content.decode()
    assert not BulkJob.objects.exists()


@pytest.mark.django_db
def test_a_file_of_several_parts_is_read_as_one(
    app: MobileApp, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PART", 1000)
    rows = [{"installation_id": f"phone-{n}", "platform": "android", "token": f"tökén-{n}"} for n in range(300)]
    rows = [{**row, "token": row["token"].replace("ö", "o").replace("é", "e")} for row in rows]
    text = "\n".join(json.dumps(row) for row in rows)
    operator.post("/admin/import/", {"app": app.pk, "file": SimpleUploadedFile("devices.jsonl", text.encode())})
    assert BulkPart.objects.count() > 10
    assert work(BulkJob.objects.get()).changed == 300
    assert set(Device.objects.values_list("installation_id", flat=True)) == {row["installation_id"] for row in rows}


@pytest.mark.django_db
def test_an_exported_file_can_be_imported_again(
    app: MobileApp, server: Api, make_app: Callable[..., MobileApp]
) -> None:
    user = {"id": "anna", "email": "anna@example.com", "phone": "+4930123456", "push_consent": False}
    server.launch(installation_id="phone-of-anna", token="token-of-anna", user=user)
    server.launch(installation_id="nobodys", token="token-of-nobody", model="=1+1")
    other = make_app("bank")
    chief = signed_in(staff("dora", "administrator"))
    form = {"action": "export", "select_across": "1", "index": "0", "_selected_action": "0"}
    exported = b"".join(chief.post(f"{DEVICES}?app={app.pk}", form))
    rows = list(csv.DictReader(io.StringIO(exported.decode())))
    assert [(row["installation_id"], row["token"], row["model"]) for row in rows] == [
        ("phone-of-anna", "token-of-anna", ""),
        ("nobodys", "token-of-nobody", "'=1+1"),  # no spreadsheet takes it for a formula
    ]
    # The file says whose app they are: none gets into another by mistake.
    assert [row.pop("app") for row in rows] == ["shop", "shop"]
    chief.post("/admin/import/", {"app": other.pk, "file": SimpleUploadedFile("devices.csv", exported)})
    job = work(BulkJob.objects.get())
    assert (job.changed, job.failed) == (0, 2)
    shown = page(chief, job)
    assert "Line 2: The row is of the app shop. Leave the column out to import it into bank." in shown
    without = io.StringIO()
    table = csv.DictWriter(without, rows[0])
    table.writeheader()
    table.writerows(rows)
    chief.post("/admin/import/", {"app": other.pk, "file": SimpleUploadedFile("d.csv", without.getvalue().encode())})
    job = work(BulkJob.objects.latest("pk"))
    assert (job.changed, job.failed) == (2, 0), list(BulkError.objects.values_list("detail", flat=True))
    copy = Device.objects.select_related("user").get(app=other, installation_id="phone-of-anna")
    assert copy.user
    assert (copy.user.email, copy.user.phone, copy.user.push_consent) == ("anna@example.com", "+4930123456", False)
    # Who may not see whole tokens exports none.
    operator = signed_in(staff("olga", "operator", apps=["shop"]))
    ended = b"".join(operator.post(DEVICES, form)).decode()
    assert "…f-anna" in ended
    assert "token-of-anna" not in ended
    assert LogEntry.objects.filter(action=LogEntry.Action.ACCESS, actor__username="olga").count() == 1
    # Of users there are no tokens: the audit log does not say that any were shown.
    record = uuid.uuid4()
    pin(MobileUser.objects.get(app=app), "contact", record, "dora")
    users = csv.DictReader(io.StringIO(b"".join(chief.post("/admin/registry/mobileuser/", form)).decode()))
    pinned = [(row["app"], row["dataverse_id"], row["decided_by"]) for row in users if row["matched_by"] == "pinned"]
    assert pinned == [("shop", str(record), "dora")]  # whose pins they were is known after an import
    looks = LogEntry.objects.filter(action=LogEntry.Action.ACCESS, actor__username="dora").order_by("pk")
    told = [look.additional_data["what"] for look in looks]
    assert told == ["exported all devices: shop with whole tokens", "exported all mobile users"]


@pytest.mark.django_db
def test_an_export_is_read_while_it_is_sent(app: MobileApp, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH", 2)
    many(app, 5)
    form = {"action": "export", "select_across": "1", "index": "0", "_selected_action": "0"}
    answer = operator.post(DEVICES, form)
    assert answer.streaming
    pieces = iter(answer)
    assert next(pieces).startswith(b"app,installation_id,")
    assert next(pieces).count(b"\n") == 2
    Registration.objects.all().delete()
    Device.objects.all().delete()
    assert list(pieces) == [], "nothing more had been read"


@pytest.mark.django_db
def test_what_is_exported_wiped_and_imported_is_as_it_was(app: MobileApp, server: Api) -> None:
    texts = ["+4930123456", "=1+1", "'=1+1", "''@x", "'quoted'", "-beta", "+1.2", "-7", "a'=b", 'O\'Neill, "x"\u00e9']
    for number, text in enumerate(texts):
        device = {"installation_id": f"-{number}", "token": f"-t{number}", "model": text, "app_version": text}
        user = {"id": text, "email": f"u{number}@example.com", "phone": f"+493012345{number}"}
        assert server.launch(**device, user=user).status_code == 201
    # A reinstallation has the token of the one that is retired for it, and has it afterwards.
    server.launch(installation_id="second", token="moved", user={"id": "anna"})
    server.launch(installation_id="first", token="moved", user={"id": "bert"})
    server.launch(installation_id="second", token="moved", user={"id": "anna"})
    assert Device.objects.get(retired_at__isnull=False).installation_id == "first"

    def known() -> list[dict[str, object]]:
        names = ("installation_id", "platform", "token", "model", "app_version", "last_seen", "user__external_id")
        return list(
            Device.objects.filter(retired_at__isnull=True)
            .order_by("installation_id")
            .values(*names, "user__email", "user__phone")
        )

    before = known()
    chief = signed_in(staff("dora", "administrator"))
    form = {"action": "export", "select_across": "1", "index": "0", "_selected_action": "0"}
    exported = b"".join(chief.post(DEVICES, form))
    for left in (Device.objects, DataverseMapping.objects, MobileUser.objects):
        left.all().delete()
    for changed in (len(before), 0):
        chief.post("/admin/import/", {"app": app.pk, "file": SimpleUploadedFile("devices.csv", exported)})
        job = work(BulkJob.objects.latest("pk"))
        assert (job.changed, job.failed) == (changed, 0), list(BulkError.objects.values_list("detail", flat=True))
        assert known() == before


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_leaves_nothing_half_done(app: MobileApp, operator: Client) -> None:
    many(app, 3000)
    job = ask(operator, REGISTRATIONS, "retry")
    database = f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{connection.settings_dict['NAME']}"
    program = (
        "import django; django.setup()\n"
        "from sync.steps import bulk\n"
        "bulk.BATCH = 10\n"
        "while True: print(bulk.run_batch(), flush=True)\n"
    )
    env = os.environ | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tokenhub.settings"}
    for _ in range(2):
        worker = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program], env=env, cwd=ROOT, stdout=subprocess.PIPE
        )
        assert worker.stdout
        worker.stdout.readline()
        time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
        worker.wait(30)
        worker.stdout.close()
        job.refresh_from_db()
        assert job.changed == job.done == Registration.objects.filter(due_at__isnull=False).count()
        assert 0 < job.done < 3000
    work(job)
    assert (job.state, job.done, job.changed) == (BulkState.DONE, 3000, 3000)
    assert BulkKind(job.kind) == BulkKind.RETRY
