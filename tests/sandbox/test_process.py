"""Starting, stopping, and what outlives both."""

import json
import signal
import stat
import subprocess
import uuid
from pathlib import Path

import httpx2
import pytest

from sandbox.admin_client import SandboxAdmin
from tests.sandbox.process import ROOT, Push, Running, command, https


def test_what_it_holds_survives_a_restart(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as first:
        details = first.details
        with first.admin() as admin, https(details) as client:
            push = Push(client, admin, str(uuid.uuid4()), str(uuid.uuid4()))
            admin.put_app(push.org, push.app, push.api_token)
            [anna] = admin.add_records("contacts", [{"emailaddress1": "a@x.y"}])
            admin.settings(processing_delay=0.0, signature_encoding="base64")
            push.register(push.device("now", anna))
            admin.wait_until_idle()
            admin.settings(processing_delay=1.0)
            [waiting] = push.register(push.device("later", anna))
            calls, summary = admin.calls(), admin.summary()
        assert first.stop() == 0
        assert not (tmp_path / "data" / "sandbox.json").exists()
    with Running(tmp_path / "data") as second:
        assert {**second.details, "pid": 0} == {**details, "pid": 0}
        with second.admin() as admin, https(second.details) as client:
            push = Push(client, admin, push.org, push.app)
            assert (admin.calls(), admin.settings()["signature_encoding"]) == (calls, "base64")
            assert admin.summary()["records"] == summary["records"]
            admin.wait_until_idle()
            assert push.held() == {(anna, "now"), (anna, "later")}
            assert push.ask(waiting) == [("Success", None)]
        assert second.stop() == 0
        assert "did not end cleanly" not in second.log.read_text()


def test_what_it_says_when_ready_is_one_line_and_no_secret(running: Running) -> None:
    details = running.details
    [line] = running.log.read_text().splitlines()
    assert details["url"] in line
    for secret in ("client_secret", "admin_token"):
        assert details[secret] not in line
    for name in ("sandbox.json", "identity.json", "ca-key.pem"):
        assert stat.S_IMODE((running.folder / name).stat().st_mode) == 0o600


def test_sigint_ends_it_cleanly_too(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(15) == 0
        assert (tmp_path / "snapshot.json").exists()


def test_a_damaged_snapshot_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    for content in ('{"version": 1, "settings"', '{"version": 1, "settings": {}}', "[]"):
        (tmp_path / "snapshot.json").write_text(content)
        ended = subprocess.run(command(tmp_path), capture_output=True, text=True, cwd=ROOT, check=False)
        assert ended.returncode == 1
        assert "snapshot.json is damaged" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert (tmp_path / "snapshot.json").read_text() == content


def test_a_run_that_was_killed_is_mentioned(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        running.process.kill()
        running.process.wait(15)
    with Running(tmp_path) as running:
        assert "did not end cleanly" in running.log.read_text()


def test_a_second_one_on_the_same_folder_or_port_is_refused(running: Running, tmp_path: Path) -> None:
    port = running.details["url"].rpartition(":")[2]
    for folder, words in ((running.folder, "another sandbox is running"), (tmp_path, "in use")):
        ended = subprocess.run(
            command(folder, "--port", port), capture_output=True, text=True, cwd=ROOT, check=False, timeout=30
        )
        assert ended.returncode == 1
        assert words in ended.stderr


def test_when_last_times_port_is_taken_another_is_found(running: Running, tmp_path: Path) -> None:
    with Running(tmp_path) as other:
        assert other.stop() == 0
    identity = json.loads((tmp_path / "identity.json").read_text())
    taken = int(running.details["url"].rpartition(":")[2])
    (tmp_path / "identity.json").write_text(json.dumps(identity | {"port": taken}))
    with Running(tmp_path) as other:
        assert other.details["url"] != running.details["url"]
        with other.admin() as admin:
            assert admin.summary()["held"] == 0


def test_the_admin_path_wants_its_token_and_sense(admin: SandboxAdmin, client: httpx2.Client, running: Running) -> None:
    assert client.get("/_sandbox/held").status_code == 401
    wrong = {"Authorization": f"Bearer {running.details['client_secret']}"}
    assert client.get("/_sandbox/held", headers=wrong).status_code == 401
    for call, message in (
        (lambda: admin.settings(speed=1), "there is no setting 'speed'"),
        (lambda: admin.settings(latency=-1), "latency is a number"),
        (lambda: admin.settings(batch_cleanup_supported=1), "true or false"),
        (lambda: admin.settings(signature_encoding="rot13"), "hex, base64, base64url"),
        (lambda: admin.add_records("people", [{}]), "404"),
        (lambda: admin.add_records("leads", [{"nickname": "x"}]), "no column 'nickname'"),
        (lambda: admin.add_records("leads", [{"statecode": "0"}]), "statecode is a int"),
        (lambda: admin.patch_record("leads", str(uuid.uuid4()), statecode=1), "no such row"),
        (lambda: admin.delete_record("leads", str(uuid.uuid4())), "no such row"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
