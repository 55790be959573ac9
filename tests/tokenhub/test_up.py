"""`manage.py up`, from the outside: what it refuses, and one long story of its life."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.tokenhub.servers import wait_gone
from tokenhub.embedded import stack, state
from tokenhub.embedded.stack import Options
from tokenhub.embedded.state import REPOSITORY, AlreadyRunning, Running, StackError

# The stores of the test run are not what `up` is to find.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("TOKENHUB_", "DATABASE_URL", "REDIS_URL"))
}


def manage(data: Path, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=REPOSITORY,
        env=ENVIRONMENT | {"TOKENHUB_DATA": str(data)} | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class Up:
    """An `up` in a process of its own, and all that it said."""

    def __init__(self, data: Path, *words: str) -> None:
        self.data = data
        self.log = data.with_name("up.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--data", str(data), "--port", "0", *words],
                cwd=REPOSITORY,
                env=ENVIRONMENT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + 60
        while words not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def wait_ready(self) -> Running:
        self.wait_for("Ctrl-C stops everything")
        running = state.running(self.data)
        assert running is not None
        return running

    def descendants(self) -> list[int]:
        """The numbers of all the processes that it started, and they."""
        parents = {}
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            except OSError:
                continue
            parents[int(fields["Pid"])] = int(fields["PPid"])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found[1:]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def started() -> Iterator[list[Up]]:
    """Every Up in here is ended after the test, whatever became of it."""
    ups: list[Up] = []
    yield ups
    for up in ups:
        if up.process.poll() is None:
            up.process.terminate()
            try:
                up.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                up.process.kill()
                up.process.wait()


def get(url: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def demo(data: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data / "demo.json").read_text())
    return content


def test_a_second_up_on_a_folder_is_refused(data: Path) -> None:
    with state.hold_lock(data), pytest.raises(AlreadyRunning):
        stack.up(Options(data), sys.stdout)
    assert [path.name for path in data.iterdir()] == ["up.lock"]


def test_a_port_in_use_is_an_error_before_anything_starts(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} on 127.0.0.1 is in use"):
            stack.up(Options(data, port=port), sys.stdout)
    assert [path.name for path in data.iterdir()] == ["up.lock"]


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 8000), ("192.0.2.1", 0), ("127.0.0.1", 99999)])
def test_a_port_or_host_that_nobody_can_listen_on_is_an_error(data: Path, host: str, port: int) -> None:
    with pytest.raises(StackError, match="listened on"):
        stack.up(Options(data, host, port), sys.stdout)


def test_an_error_is_said_plainly(data: Path) -> None:
    with state.hold_lock(data):
        done = manage(data, "up")
    assert done.returncode == 1
    assert done.stderr.startswith(f"CommandError: The data folder {data} is in use")
    assert "Traceback" not in done.stderr


def test_an_external_database_needs_its_secrets_from_outside(data: Path) -> None:
    done = manage(data, "up", DATABASE_URL=os.environ["DATABASE_URL"])
    assert done.returncode == 1
    assert "TOKENHUB_SECRET_KEY must be set" in done.stderr
    assert "python -c" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of an `up` that was killed")
def test_it_comes_up_is_killed_comes_up_again_with_its_data_and_stops(data: Path, started: list[Up]) -> None:
    first = Up(data)
    started.append(first)
    before = first.wait_ready()
    assert get(before.web_url, "/livez")[0] == 200
    assert "Applying registry.0001_initial" in first.said
    with psycopg.connect(before.database_url) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    children = first.descendants()
    assert len(children) > 5
    first.process.kill()
    first.process.wait()
    assert state.running(data) is None
    assert wait_gone(*children)

    second = Up(data, "--sandbox")
    started.append(second)
    after = second.wait_ready()
    # The same addresses, and the same data, so that there was nothing to migrate.
    assert (after.web_url, after.database_url, after.redis_url) == (
        before.web_url,
        before.database_url,
        before.redis_url,
    )
    assert "migrate  |" not in second.said
    with psycopg.connect(after.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    made = demo(data)
    assert f"user admin, password {made['admin']['password']}" in second.said
    assert (data / "demo.json").stat().st_mode & 0o777 == 0o600
    # Another command finds the stack, and the sandbox's CA and hosts with it.
    seed = ["seed_sandbox", "--sandbox", made["sandbox"], "--out", str(data / "demo.seed.json"), "--url", "x"]
    done = manage(data, *seed)
    assert done.returncode == 0, done.stderr
    assert json.loads((data / "demo.seed.json").read_text()) == made | {"url": "x"}

    children = second.descendants()
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(timeout=60) == 0, second.said
    assert wait_gone(*children)
    assert second.said.endswith(f"up       | stopped; the data stay in {data}\n")
    assert not (data / "demo.json").exists()
    assert state.running(data) is None
