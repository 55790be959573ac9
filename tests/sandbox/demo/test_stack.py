"""Which folders are wiped, and what is said when the stack does not come up."""

import fcntl
import json
from pathlib import Path

import pytest

from sandbox.demo import __main__ as demo
from sandbox.demo import stack
from sandbox.demo.stack import MARKER, Details, Stack, StackError, wipe


def test_a_folder_of_its_own_is_made_and_wiped(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "demo"
    wipe(folder)
    (folder / "old").write_text("x")
    wipe(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_somebody_elses_folder_is_never_wiped(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StackError, match="was not made by the demo"):
        wipe(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_folder_with_a_running_stack_is_not_wiped(tmp_path: Path) -> None:
    wipe(tmp_path)
    with (tmp_path / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StackError, match="a stack is running"):
            wipe(tmp_path)
    wipe(tmp_path)
    assert not (tmp_path / "up.lock").exists()


@pytest.fixture
def fake_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stack, "ROOT", tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/")
    return tmp_path


def program(root: Path, text: str) -> None:
    (root / "manage.py").write_text(f"import json, os, sys, time\nfolder = sys.argv[4]\n{text}\n")


def test_what_the_stack_says_of_itself_is_awaited_and_it_ends_with_us(fake_root: Path) -> None:
    told = {
        "url": "http://127.0.0.1:1",
        "server_key": "s",
        "mobile_key": "m",
        "sandbox": "sandbox.json",
        "mobile_app_id": "ABC",
    }
    program(
        fake_root,
        "print(sys.argv[1:3], sys.argv[5:], 'DATABASE_URL' in os.environ, flush=True)\n"
        f"open(folder + '/demo.json', 'w').write(json.dumps({told!r}))\ntime.sleep(60)",
    )
    with Stack(fake_root / "data", 8123) as running:
        details = running.wait_until_ready()
        running.check()
    assert details == Details("http://127.0.0.1:1", "s", "m", Path("sandbox.json"), "abc")
    assert running.log.read_text().strip() == "['up', '--sandbox'] ['--port', '8123'] False"
    with pytest.raises(StackError, match="has ended"):
        running.check()


def test_a_stack_that_ends_is_an_error_with_its_last_words(
    fake_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(fake_root, "sys.exit('PostgreSQL does not start')")
    assert demo.main(["--phones", "1", "--data", str(fake_root / "data")]) == 2
    text = capsys.readouterr().out
    assert "PostgreSQL does not start" in text
    assert "up.log" in text


def test_a_description_that_is_not_as_expected_is_an_error(fake_root: Path) -> None:
    program(fake_root, f"open(folder + '/demo.json', 'w').write({json.dumps({'url': 'x'})!r})\ntime.sleep(60)")
    with Stack(fake_root / "data", 0) as running, pytest.raises(StackError, match="not as expected"):
        running.wait_until_ready()
