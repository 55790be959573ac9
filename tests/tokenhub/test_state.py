"""The data folder: secrets, the lock, and what tells others where the servers are."""

import base64
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tokenhub.embedded import state
from tokenhub.embedded.state import AlreadyRunning, Running, Secrets, StackError

HERE = Running(1, "postgres://there", "redis://there", "http://there", {"SSL_CERT_FILE": "ca.pem"})


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_data_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENHUB_DATA", str(tmp_path))
    assert state.data_dir() == tmp_path
    monkeypatch.delenv("TOKENHUB_DATA")
    assert state.data_dir() == state.REPOSITORY / "var"


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert state.load_secrets(tmp_path) is None
    made = state.ensure_secrets(data)
    assert mode(data) == 0o700
    assert mode(data / "secrets.json") == 0o600
    assert len(base64.urlsafe_b64decode(made.encryption_key)) == 32
    assert state.ensure_secrets(data) == state.load_secrets(data) == made
    assert [path.name for path in data.iterdir()] == ["secrets.json"]


def test_secrets_do_not_show_in_logs(tmp_path: Path) -> None:
    assert repr(state.ensure_secrets(tmp_path)) == "Secrets()"
    assert "there" not in repr(HERE).replace("http://there", "")


def test_two_that_make_secrets_at_once_get_the_same(tmp_path: Path) -> None:
    made: list[Secrets] = []
    both = threading.Barrier(8)

    def make() -> None:
        both.wait()
        made.append(state.ensure_secrets(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [state.load_secrets(tmp_path)] * 8


def test_it_makes_no_new_secrets_for_a_database_that_needs_the_old_ones(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(StackError, match=r"secrets\.json is missing"):
        state.ensure_secrets(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"secret_key": "x"}', "[]"])
def test_it_says_so_when_secrets_are_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "secrets.json").write_text(content)
    with pytest.raises(StackError, match=r"secrets\.json cannot be read"):
        state.load_secrets(tmp_path)


def test_it_says_so_when_the_data_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot be used"):
        state.make_data_dir(tmp_path / "file" / "data")


def test_running_means_that_the_lock_is_held(tmp_path: Path) -> None:
    with state.hold_lock(tmp_path):
        assert state.running(tmp_path) is None
        assert "starting" in state.not_running_message(tmp_path)
        state.write_running(tmp_path, HERE)
        assert mode(tmp_path / "running.json") == 0o600
        assert state.running(tmp_path) == HERE
    # As after a kill -9: the file is still there, and nobody holds the lock.
    assert json.loads((tmp_path / "running.json").read_text())["pid"] == HERE.pid
    assert state.running(tmp_path) is None
    assert "`make up`" in state.not_running_message(tmp_path)


def test_every_command_trusts_the_ca_of_the_sandbox_that_runs_whatever_the_shell_trusts(tmp_path: Path) -> None:
    here = Running(1, "postgres://there/x", "redis://there", "http://there", {"SSL_CERT_FILE": "its-ca.pem"})
    shell = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    shell |= {"TOKENHUB_DATA": str(tmp_path), "SSL_CERT_FILE": "the-system-s.pem"}
    state.ensure_secrets(tmp_path)
    with state.hold_lock(tmp_path):
        state.write_running(tmp_path, here)
        done = subprocess.run(
            [sys.executable, "-c", "import os, tokenhub.settings; print(os.environ['SSL_CERT_FILE'])"],
            cwd=state.REPOSITORY, env=shell, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert done.stdout == "its-ca.pem\n"


def test_nothing_runs_on_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert state.running(tmp_path / "none") is None


def test_a_second_up_is_refused_with_the_number_of_the_first(tmp_path: Path) -> None:
    refused = pytest.raises(AlreadyRunning, match=r"another `up` runs on it \(process \d+\)")
    with state.hold_lock(tmp_path), refused, state.hold_lock(tmp_path):
        raise AssertionError
    with state.hold_lock(tmp_path):
        pass


def test_a_look_at_the_lock_does_not_keep_an_up_from_starting(tmp_path: Path) -> None:
    with state.hold_lock(tmp_path):
        pass
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            state.is_up(tmp_path)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(5):
            with state.hold_lock(tmp_path):
                assert state.is_up(tmp_path)
    finally:
        done.set()
        looker.join()
