"""PostgreSQL and Valkey from their wheels, run for real."""

import os
import pwd
import subprocess
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.tokenhub.servers import gone, running
from tokenhub.embedded import ports, processes, schema
from tokenhub.embedded.postgres import Postgres, _command_line
from tokenhub.embedded.processes import spawn, wait_ready
from tokenhub.embedded.state import StackError
from tokenhub.embedded.valkey import Valkey

PASSWORD = "a-password-for-tests"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that was made once. Its name has what needs quoting, below a folder that only we may enter."""
    parent = tmp_path_factory.mktemp('a "data" folder')
    parent.chmod(0o700)
    folder = parent / "postgres"
    Postgres(folder, 1, PASSWORD, fast=True).prepare(lambda _: None)
    return folder


@pytest.fixture
def postgres(folder: Path) -> Postgres:
    return Postgres(folder, ports.choose(), PASSWORD, fast=True)


@pytest.fixture
def valkey(tmp_path: Path) -> Valkey:
    return Valkey(tmp_path / 'a "valkey" folder', ports.choose(), PASSWORD)


def test_the_database_is_there_again_after_a_restart(postgres: Postgres) -> None:
    with running(postgres), psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'Ä' AS letter")
    elsewhere = replace(postgres, port=ports.choose())
    with running(elsewhere), psycopg.connect(elsewhere.url) as connection:
        assert connection.execute("SELECT lower(letter), current_user::text FROM kept").fetchone() == ("ä", "tokenhub")
        connection.execute("DROP TABLE kept")


def test_only_its_own_role_gets_in_with_the_password_and_is_no_superuser(postgres: Postgres) -> None:
    with running(postgres) as process:
        assert PASSWORD not in _command_line(process.pid)
        with psycopg.connect(postgres.url) as connection:
            assert connection.execute("SELECT usesuper FROM pg_user WHERE usename = current_user").fetchone() == (
                False,
            )
        for user in ("postgres", "nobody"):
            with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
                psycopg.connect(postgres.url.replace("//tokenhub", f"//{user}"))
        with pytest.raises(StackError, match="does not take the password"):
            replace(postgres, password="another").ready()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is anything special")
def test_as_root_it_runs_as_the_owner_of_its_folder_with_one_capability(postgres: Postgres) -> None:
    owner = pwd.getpwnam("nobody").pw_uid
    assert postgres.folder.stat().st_uid == owner
    with running(postgres) as process:
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    assert f"Uid:\t{owner}\t{owner}\t{owner}\t{owner}" in status
    assert "CapEff:\t0000000000000002" in status  # CAP_DAC_OVERRIDE
    assert "CapBnd:\t0000000000000002" in status


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs it")
def test_as_root_without_setpriv_it_says_what_to_do(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StackError, match="Run `up` as a plain user, or set DATABASE_URL"):
        postgres.argv()


def test_a_server_that_was_left_over_is_stopped_first(postgres: Postgres) -> None:
    said: list[str] = []
    with running(postgres) as process:
        postgres.prepare(said.append)
        assert process.wait(timeout=5) == 0
    assert said == [f"stopping a PostgreSQL that an earlier `up` left behind (process {process.pid})"]


def test_a_pid_file_whose_number_is_somebody_elses_by_now_is_no_server(postgres: Postgres) -> None:
    (postgres.folder / "postmaster.pid").write_text(f"{os.getppid()}\n")
    postgres.prepare(lambda _: None)
    assert not gone(os.getppid())
    with running(postgres):
        pass


def test_a_database_of_another_version_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("17\n")
    with pytest.raises(StackError, match=r"made by PostgreSQL 17, and this is PostgreSQL 18\. Dump it"):
        Postgres(tmp_path, 1, PASSWORD).prepare(lambda _: None)


def test_a_first_start_that_was_interrupted_is_begun_anew(tmp_path: Path) -> None:
    half_made = tmp_path / "postgres.new"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    Postgres(tmp_path / "postgres", 1, PASSWORD, fast=True).prepare(lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["postgres"]


def test_a_database_without_tables_or_out_of_reach_is_not_current(postgres: Postgres) -> None:
    assert not schema.is_current(postgres.url)
    with running(postgres):
        assert not schema.is_current(postgres.url)


def test_valkey_takes_its_password_alone_and_shows_it_nobody(valkey: Valkey) -> None:
    with running(valkey) as process:
        assert (valkey.folder / "valkey.conf").stat().st_mode & 0o777 == 0o600
        assert PASSWORD not in _command_line(process.pid)
        with redis.Redis.from_url(valkey.url) as client:
            assert client.config_get("save") == {"save": ""}
        with (
            redis.Redis("127.0.0.1", valkey.port, retry=Retry(NoBackoff(), 0)) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


def test_a_valkey_that_was_left_over_is_stopped_first(valkey: Valkey) -> None:
    said: list[str] = []
    with running(valkey) as process:
        replace(valkey, port=ports.choose()).prepare(said.append)
        assert process.wait(timeout=5) == 0
    assert said == ["stopping a Valkey that an earlier `up` left behind"]


def test_a_server_that_ends_while_starting_is_an_error(valkey: Valkey) -> None:
    with running(valkey):
        twin = spawn(valkey.argv(), output=subprocess.DEVNULL)
        with pytest.raises(StackError, match="valkey ended while starting"):
            wait_ready(twin, lambda: False, name="valkey")


def test_servers_run_where_nothing_can_guard_them(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_guarding_setpriv", lambda: None)
    assert valkey.argv()[0].endswith("valkey-server")
    with running(valkey):
        pass
