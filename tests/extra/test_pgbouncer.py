"""Debian's PgBouncer in transaction mode, fewer server connections than processes: the whole path goes through it."""

import os
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
from django.db import connection

from registry.models import Registration
from registry.services.keys import create_key
from tests.extra.conftest import program
from tests.layout import ROOT, forget_nudges, layout
from tests.sandbox_process import World
from tokenhub.embedded import ports
from tokenhub.embedded.processes import guarded, spawn, stop, wait_ready

pytestmark = pytest.mark.extra
SERVERS = 4  # connections to PostgreSQL, for eight processes and their threads
PHONES = 60


@pytest.fixture
def pooled(world: World, tmp_path: Path) -> Iterator[str]:
    """The test's database by way of PgBouncer."""
    url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
    port, name = ports.choose(), connection.settings_dict["NAME"]
    server = f"host={url.hostname} port={url.port} dbname={name} user={url.username} password={url.password}"
    (tmp_path / "pgbouncer.ini").write_text(
        f"""[databases]
{name} = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {SERVERS}
max_client_conn = 500
"""
    )
    # It refuses to run as root.
    words = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [program("pgbouncer", "pgbouncer"), *words, str(tmp_path / "pgbouncer.ini")]
    address = f"postgresql://anybody@127.0.0.1:{port}"
    with (tmp_path / "pgbouncer.out").open("wb") as output:
        process = spawn(guarded(command), output=output)
    try:
        wait_ready(process, lambda: answers(f"{address}/{name}"), name="pgbouncer")
        yield f"{address}/{name}"
        with psycopg.connect(f"{address}/pgbouncer", autocommit=True, prepare_threshold=None) as admin:
            # Its console speaks the simple protocol alone.
            rows = psycopg.ClientCursor(admin).execute("SHOW STATS_TOTALS").fetchall()
        assert sum(int(row[1]) for row in rows if row[0] == name) > PHONES, "nothing went through it"
    finally:
        stop(process, signal.SIGTERM, timeout=10)


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2) as there:
            return there.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_the_whole_path_goes_through_pgbouncer(world: World, pooled: str, tmp_path: Path) -> None:
    forget_nudges()  # that other tests have left
    contacts = {number: world.contact(emailaddress1=f"u{number}@example.com") for number in range(PHONES)}
    environment = {
        "TOKENHUB_PGBOUNCER": "true",
        "TOKENHUB_CIJ_HOST_SUFFIXES": "localhost",
        "TOKENHUB_DATAVERSE_HOST_SUFFIXES": "localhost",
        "TOKENHUB_SWEEP_SECONDS": "2",
        "SSL_CERT_FILE": world.microsoft.ca_file,
    }
    bearer = {"Authorization": f"Bearer {create_key(app=world.app, kind='server')}", "Host": "push.example.com"}
    parts = ("web-1", "web-2", "worker-1", "worker-2", "urgent", "beat")
    with (
        layout(tmp_path, *parts, environment=environment, database=pooled) as running,
        httpx2.Client(trust_env=False, timeout=60, headers=bearer) as phone,
    ):

        def launch(number: int, user: int) -> None:
            body = {
                "installation_id": f"phone-{number}",
                "platform": "android",
                "token": f"token-{number}",
                "user": {"id": f"u{user}", "email": f"u{user}@example.com"},
            }
            url = running.urls()[number % 2]
            assert phone.post(f"{url}/api/v1/devices", json=body).status_code in (200, 201)

        for number in range(PHONES):
            launch(number, number)
        wait(world, {(contacts[number], f"token-{number}") for number in range(PHONES)})
        for number in range(0, PHONES, 2):  # each second phone changes hands
            launch(number, number + 1)
        wait(world, {(contacts[number | 1], f"token-{number}") for number in range(PHONES)})
        env = running.parts["beat"].env
        for command in (["migrate", "--check"], ["sync_status", "--json"], ["rotate_encryption_key"], ["reconcile"]):
            done = subprocess.run(
                [str(ROOT / "deploy" / "run"), *command],
                env=env,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        said = "".join(part.log.read_text() for part in running.parts.values())
    assert "Error" not in said, said


def wait(world: World, wanted: set[tuple[str, str]], seconds: float = 90.0) -> None:
    """Until CI-J holds what is wanted, and we know it."""
    moving = Registration.objects.filter(desired=True).exclude(state="registered")
    ends = time.monotonic() + seconds
    while world.held() != wanted or moving.exists():
        assert time.monotonic() < ends
        time.sleep(0.2)
