"""`manage.py import_devices`, also when it is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection

from registry.management.commands import import_devices
from registry.models import Device, MobileApp, MobileUser
from registry.services import imports
from registry.services.import_files import Row
from tests.registry.test_commands import run
from tests.web import ROOT

HEADING = "installation_id,platform,token,user.id,user.email,user.push_consent,sequence"


def csv(tmp_path: Path, *lines: str | bytes, heading: str = HEADING, name: str = "devices.csv") -> Path:
    path = tmp_path / name
    encoded = [line if isinstance(line, bytes) else line.encode() for line in (heading, *lines)]
    path.write_bytes(b"\r\n".join(encoded) + b"\r\n")
    return path


def good(number: int) -> str:
    return f"p{number},android,t{number},u{number},u{number}@example.com,true,{number}"


def errors(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.with_name(f"{path.name}.errors.jsonl").read_text().splitlines()]


@pytest.mark.django_db
def test_a_file_is_imported_and_again_unchanged(app: MobileApp, tmp_path: Path) -> None:
    path = csv(tmp_path, *[good(number) for number in range(5)])
    assert run("import_devices", str(path), "--app", "shop") == (
        "5 rows: 5 created, 0 updated, 0 unchanged, 0 stale, 0 retired, 0 error."
    )
    again = json.loads(run("import_devices", str(path), "--app", "shop", "--json"))
    assert (again["rows"], again["unchanged"]) == (5, 5)
    device = Device.objects.get(installation_id="p3")
    assert (device.token, device.sequence, device.user and device.user.email) == ("t3", 3, "u3@example.com")
    assert list(tmp_path.iterdir()) == [path]  # no notes are left


@pytest.mark.django_db
def test_tables_that_were_nearly_empty_are_analysed_after_the_first_rows(
    app: MobileApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each batch reads all that the batches before it have written, until autovacuum comes by."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE registry_mobileuser, registry_device, registry_dataversemapping")
    path = csv(tmp_path, *[good(number) for number in range(5)])
    run("import_devices", str(path), "--app", "shop", "--dry-run")
    assert counted() == {0}
    run("import_devices", str(path), "--app", "shop")
    assert counted() == {5}
    monkeypatch.setattr(imports, "SMALL", 5)
    run("import_devices", str(csv(tmp_path, good(5), name="more.csv")), "--app", "shop")
    assert counted() == {5}
    run(
        "import_devices",
        str(csv(tmp_path, *[good(number) for number in range(6, 11)], name="many.csv")),
        "--app",
        "shop",
    )
    assert counted() == {11}, "where many are new they are analysed at the end"


def counted() -> set[int]:
    """How many rows PostgreSQL believes that the tables have."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples FROM pg_class"
            " WHERE relname IN ('registry_mobileuser', 'registry_device', 'registry_dataversemapping')"
        )
        return {int(count) for (count,) in cursor.fetchall()}


@pytest.mark.django_db
def test_the_thread_that_checks_leaves_off_soon_during_an_import_alone(
    app: MobileApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intervals: list[float] = []

    def read_rows(*_: object) -> Iterator[Row]:
        intervals.append(sys.getswitchinterval())
        return iter(())

    monkeypatch.setattr(import_devices, "read_rows", read_rows)
    before = sys.getswitchinterval()
    run("import_devices", str(csv(tmp_path)), "--app", "shop")
    assert intervals == [pytest.approx(import_devices.SWITCH_INTERVAL)]
    assert sys.getswitchinterval() == before


@pytest.mark.django_db
def test_lines_of_json_are_taken_as_the_api_takes_them(app: MobileApp, tmp_path: Path) -> None:
    path = tmp_path / "devices.jsonl"
    rows = [{"installation_id": "a", "platform": "ios", "token": "AB", "user": {"id": "anna"}}, "", {"platform": "ios"}]
    path.write_text("".join(f"{json.dumps(row) if row else ''}\n" for row in rows) + "{not json\n" + "[" * 5000 + "\n")
    with pytest.raises(CommandError, match="Some rows have errors"):
        run("import_devices", str(path), "--app", "shop")
    assert [entry["line"] for entry in errors(path)] == [3, 4, 5]
    assert Device.objects.get().token == "ab"


@pytest.mark.django_db
def test_a_retired_device_stays_out_and_is_counted(app: MobileApp, tmp_path: Path) -> None:
    heading = "installation_id,platform,token,retired_at"
    path = csv(tmp_path, "new,android,t1,", "old,android,t1,2026-01-01T10:00:00+00:00", "x,ios,ab,ago", heading=heading)
    with pytest.raises(CommandError, match="Some rows have errors"):
        run("import_devices", str(path), "--app", "shop")
    assert [device.installation_id for device in Device.objects.all()] == ["new"]
    assert [(entry["line"], entry["errors"][0]["field"]) for entry in errors(path)] == [(4, "retired_at")]


@pytest.mark.django_db
def test_a_bad_row_costs_only_itself(app: MobileApp, tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        good(1),
        "p2,android,t2",
        good(3).replace("u3@example.com", "nobody"),
        b"p4,android,t4,\xff\xfe,,,",
        "",
        'p5,android,"t5,u5,,,',
        good(6),
        "p7,android," + "t" * 70_000 + ",,,,",
        good(8).replace(",true,", ",perhaps,"),
        '"p9","android","t9","u,9",,,',
    )
    with pytest.raises(CommandError, match="Some rows have errors"):
        run("import_devices", str(path), "--app", "shop")
    told = {entry["line"]: (entry["errors"][0]["field"], entry["errors"][0]["detail"]) for entry in errors(path)}
    assert told[3] == ("body", "The row has 3 cells, the heading 7.")
    assert told[4][0] == "user.email"
    assert told[5] == ("user.id", "Control characters and lone surrogates are not allowed.")
    assert told[7][0] == "body"
    assert told[9] == ("body", "The line is longer than 65536 bytes.")
    assert told[10] == ("user.push_consent", "Must be true or false.")
    assert sorted(told) == [3, 4, 5, 7, 9, 10]
    assert sorted(Device.objects.values_list("installation_id", flat=True)) == ["p1", "p6", "p9"]
    assert MobileUser.objects.filter(external_id="u,9").exists()


@pytest.mark.django_db
def test_a_dry_run_checks_everything_and_changes_nothing(app: MobileApp, tmp_path: Path) -> None:
    path = csv(tmp_path, good(1), good(2).replace("android", "windows"))
    with pytest.raises(CommandError, match=r"Some rows have errors: .* names them\.$"):
        run("import_devices", str(path), "--app", "shop", "--dry-run")
    assert not Device.objects.exists()
    assert not MobileUser.objects.exists()
    assert [entry["line"] for entry in errors(path)] == [3]
    assert not (tmp_path / "devices.csv.progress.json").exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("heading", "said"),
    [
        ("installation_id,platform", "Columns missing: 'token'"),
        (f"{HEADING},colour", "Columns unknown: 'colour'"),
        (f"{HEADING},token", "Columns there twice: 'token'"),
        ("", "Columns missing: 'installation_id', 'platform', 'token'"),
    ],
)
def test_a_useless_heading_is_told_before_anything_is_done(
    app: MobileApp, tmp_path: Path, heading: str, said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        run("import_devices", str(csv(tmp_path, good(1), heading=heading)), "--app", "shop")


@pytest.mark.django_db
def test_a_byte_order_mark_is_no_part_of_the_heading(app: MobileApp, tmp_path: Path) -> None:
    path = csv(tmp_path, good(1), heading=f"\ufeff{HEADING}")
    assert run("import_devices", str(path), "--app", "shop").startswith("1 rows: 1 created")


@pytest.mark.django_db
def test_other_files_are_refused(app: MobileApp, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no file"):
        run("import_devices", str(tmp_path / "none.csv"), "--app", "shop")
    with pytest.raises(CommandError, match=r"must be a \.csv or a \.jsonl file"):
        run("import_devices", str(csv(tmp_path, name="devices.xlsx")), "--app", "shop")


def start(path: Path) -> subprocess.Popen[str]:
    database = f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{connection.settings_dict['NAME']}"
    command = [sys.executable, "-W", "ignore", "manage.py", "import_devices", str(path), "--app", "shop", "--json"]
    env = os.environ | {"DATABASE_URL": database}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True)


def wait_for_a_note(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    note = path.with_name(f"{path.name}.progress.json")
    while not note.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.django_db(transaction=True)
def test_a_killed_import_goes_on_where_it_was(app: MobileApp, tmp_path: Path) -> None:
    lines = [good(number) if number % 100 else f"p{number},android,,,,," for number in range(6000)]
    path = csv(tmp_path, *lines)
    process = start(path)
    wait_for_a_note(path, process)
    process.kill()
    process.communicate()
    before = Device.objects.count()
    assert 0 < before < 5940
    process = start(path)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1  # some rows have errors
    told = json.loads(out)
    assert (told["rows"], told["error"]) == (6000, 60)
    # A chunk that was written and not noted is found unchanged.
    assert told["created"] + told["unchanged"] == 5940
    assert told["unchanged"] <= 1000
    assert set(Device.objects.values_list("installation_id", "token", "user__email")) == {
        (f"p{number}", f"t{number}", f"u{number}@example.com") for number in range(6000) if number % 100
    }
    assert [entry["line"] for entry in errors(path)] == [number + 2 for number in range(0, 6000, 100)]


@pytest.mark.django_db(transaction=True)
def test_of_two_runs_over_one_file_the_second_is_refused(app: MobileApp, tmp_path: Path) -> None:
    path = csv(tmp_path, *[good(number) for number in range(20_000)])
    process = start(path)
    wait_for_a_note(path, process)
    with pytest.raises(CommandError, match="is being imported already"):
        run("import_devices", str(path), "--app", "shop", "--dry-run")
    process.kill()
    process.communicate()
    path.write_bytes(csv(tmp_path, good(1), name="short.csv").read_bytes())
    assert run("import_devices", str(path), "--app", "shop", "--restart").startswith("1 rows")


@pytest.mark.django_db(transaction=True)
def test_one_that_is_interrupted_says_how_to_go_on(app: MobileApp, tmp_path: Path) -> None:
    path = csv(tmp_path, *[good(number) for number in range(20_000)])
    process = start(path)
    wait_for_a_note(path, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "rows are done; the same command goes on from there." in said
    path.write_bytes(path.read_bytes() + b"p,android,t,,,,\r\n")
    with pytest.raises(CommandError, match=r"the file was changed since\. Use --restart"):
        run("import_devices", str(path), "--app", "shop")
