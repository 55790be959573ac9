"""`manage.py doctor`, against a stack that is well, and one broken in one way after the other: each is named."""

import io
import json
import logging
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from registry.models import DataverseEnvironment, DataverseMapping, MobileApp
from registry.services import vitals
from registry.services.valkey import valkey
from sync import connect, pauses
from sync.clients.errors import Denied
from tests.sandbox_process import API_TOKEN, World, sandbox, world
from tokenhub.embedded import ports

__all__ = ["sandbox", "world"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def well(world: World, settings: Settings) -> Iterator[World]:
    """Everything that doctor looks for is there."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER ROLE CURRENT_USER RESET ALL")
    valkey().delete(vitals.HEARTS, vitals.PROCESSES)
    vitals.beats(vitals.BEAT)
    vitals._Reporter.role = "worker tokenhub tokenhub.urgent tokenhub.events"
    vitals.tell()
    yield world
    valkey().delete(vitals.HEARTS, vitals.PROCESSES)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET app = 'registry' WHERE app = 'hidden'")


def doctor(*arguments: str) -> tuple[int, list[dict[str, str]]]:
    out = io.StringIO()
    try:
        call_command("doctor", "--json", *arguments, stdout=out)
        status = 0
    except SystemExit as end:
        status = int(str(end.code))
    said = json.loads(out.getvalue())
    assert said["ok"] is (status == 0)
    return status, said["findings"]


def run_doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as an operator does."""
    return subprocess.run(
        [sys.executable, "manage.py", "doctor", *arguments],
        cwd=ROOT,
        env={**os.environ, "TOKENHUB_ALLOWED_HOSTS": "x", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def errors(findings: list[dict[str, str]]) -> dict[str, str]:
    """What is wrong, by part."""
    found: dict[str, str] = {}
    for finding in findings:
        assert finding["mend"] or finding["level"] == "ok", finding
        if finding["level"] == "error":
            found[finding["part"]] = found.get(finding["part"], "") + finding["says"] + "\n"
    return found


def test_a_stack_that_is_well_is_found_to_be(well: World) -> None:
    status, findings = doctor()
    assert (status, errors(findings)) == (0, {})
    parts = {finding["part"] for finding in findings if finding["level"] == "ok"}
    host = well.app.endpoint.removeprefix("https://")
    assert parts >= {"database", "broker", "settings", "migrations", "keys", "clock", "beat", "workers", "queues"}
    assert parts >= {f"TLS {host}", "Dataverse sandbox", "app shop"}


def secret_renewed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    DataverseEnvironment.objects.update(client_secret="an-old-one")


def token_revoked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    MobileApp.objects.update(api_token="an-old-one")


def nobody_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    MobileApp.objects.update(endpoint=f"https://localhost:{ports.choose()}")


def name_misspelt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    MobileApp.objects.update(endpoint="https://public-eur.mkt.dynamics.invalid")


def beat_silent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now: Any = valkey().time()
    valkey().hset(vitals.HEARTS, vitals.BEAT, f"{now[0] - 500} ")


def urgent_worker_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    vitals._Reporter.role = "worker tokenhub tokenhub.events"
    vitals.tell()


def schema_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(name) FROM django_migrations WHERE app = 'registry'")
        (name,) = cursor.fetchone()
        cursor.execute("UPDATE django_migrations SET app = 'hidden' WHERE app = 'registry' AND name = %s", [name])


def clock_ahead(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr("tokenhub.doctor.stores.time.time", lambda: now() + 600)


def keys_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings

    monkeypatch.setattr(settings, "TOKENHUB_ENCRYPTION_KEYS", [Fernet.generate_key().decode()])


def keys_no_keys(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings

    monkeypatch.setattr(settings, "TOKENHUB_ENCRYPTION_KEYS", ["no-key"])


def setting_wrong(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings

    monkeypatch.setattr(settings, "TOKENHUB_CALL_DEADLINE", timedelta(minutes=2))


def queue_stalled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.server.launch(user={"id": "anna"})
    DataverseMapping.objects.update(due_at=timezone.now() - timedelta(hours=1))


def app_paused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses.rest(world.app, Denied("HTTP 401"))


def table_withheld(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.microsoft.add_fault("query", status=403, times=None)


@pytest.mark.parametrize(
    ("broken", "part", "says"),
    [
        (secret_renewed, "Dataverse sandbox", "the sign-in is refused"),
        (token_revoked, "app shop", "CI-J refuses a status call: HTTP 400"),
        (nobody_there, "TLS localhost", "of app shop: refuses the connection"),
        (name_misspelt, "TLS public-eur", "of app shop: its name is not known"),
        (beat_silent, "beat", "is silent for 50"),
        (urgent_worker_gone, "workers", "nobody takes from the queue tokenhub.urgent"),
        (schema_behind, "migrations", "1 are not applied: registry."),
        (clock_ahead, "clock", "this host's clock is 600 s ahead of"),
        (keys_changed, "keys", "was encrypted with a key that is not in TOKENHUB_ENCRYPTION_KEYS"),
        (keys_no_keys, "settings", "Key 1 of TOKENHUB_ENCRYPTION_KEYS is not 32 bytes"),
        (setting_wrong, "settings", "is not shorter than TOKENHUB_LEASE_SECONDS"),
        (queue_stalled, "alert stalled", "app shop: map: The oldest of what is due waits for 60 min"),
        (app_paused, "alert paused", "the credentials are refused"),
        (table_withheld, "Dataverse sandbox", "table contacts cannot be read: HTTP 403"),
    ],
)
def test_what_is_broken_is_named_with_how_to_mend_it(
    well: World,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[World, pytest.MonkeyPatch], None],
    part: str,
    says: str,
) -> None:
    broken(well, monkeypatch)
    status, findings = doctor()
    found = errors(findings)
    assert status == 1
    named = [(one, words) for one, words in found.items() if one.startswith(part)]
    assert named, found
    assert any(says in words for _, words in named), named
    others = {one for one in found if not one.startswith(part)}
    # What follows from it may be told as well; what has nothing to do with it is not.
    follows = {"app shop", "Dataverse sandbox", "settings", "keys"} if broken in (keys_changed, keys_no_keys) else set()
    assert others <= follows, found
    for secret in (API_TOKEN, "an-old-one"):
        assert secret not in json.dumps(findings)


def test_a_certificate_that_nobody_vouches_for_is_named(well: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    MobileApp.objects.update(endpoint=f"https://localhost:{server.server_port}")
    try:
        found = errors(doctor()[1])
    finally:
        server.shutdown()
        server.server_close()
    assert "its certificate is not trusted" in found[f"TLS localhost:{server.server_port}"]


def test_a_valkey_that_throws_keys_away_is_warned_of_and_fails_only_the_strict(well: World) -> None:
    before: Any = valkey().config_get("maxmemory-policy")
    valkey().config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert doctor()[0] == 0
        status, findings = doctor("--strict")
    finally:
        valkey().config_set("maxmemory-policy", before["maxmemory-policy"])
    assert status == 1
    assert any("throws keys away" in finding["says"] for finding in findings)


@pytest.mark.parametrize(("variable", "part"), [("DATABASE_URL", "database"), ("REDIS_URL", "broker")])
def test_a_store_that_is_away_is_named_and_the_rest_looked_at(well: World, variable: str, part: str) -> None:
    scheme = "postgres" if variable == "DATABASE_URL" else "redis"
    database = f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"
    done = run_doctor(**{"DATABASE_URL": database, variable: f"{scheme}://user:hunter2@127.0.0.1:1/0"})
    assert done.returncode == 1, done.stderr
    assert f"error    {part} " in done.stdout
    assert "does not answer" in done.stdout
    assert "→ Is it running?" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("variable", "part"), [("DATABASE_URL", "database"), ("REDIS_URL", "broker")])
def test_a_store_that_refuses_the_password_is_not_said_to_be_away(well: World, variable: str, part: str) -> None:
    right = os.environ[variable]
    wrong = re.sub("(://[^:@/]*):[^@]*@", r"\1:hunter2@", right)
    assert wrong != right
    done = run_doctor(**{variable: wrong})
    assert done.returncode == 1, done.stderr
    refused = next(line for line in done.stdout.splitlines() if line.startswith(f"error    {part} "))
    assert "refuses us: " in refused
    assert f"See {variable}" in done.stdout
    assert "Is it running?" not in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


@pytest.fixture
def people_sign_in(well: World, settings: Settings) -> Settings:
    """Administrators sign in at the same Entra ID."""
    environment = DataverseEnvironment.objects.get()
    settings.TOKENHUB_ENTRA_AUTHORITY, settings.TOKENHUB_ENTRA_TENANT = environment.authority, environment.tenant
    settings.TOKENHUB_ENTRA_CLIENT_ID = environment.client_id
    settings.TOKENHUB_ENTRA_CLIENT_SECRET = environment.client_secret
    return settings


def test_the_administrators_sign_in_is_tried(people_sign_in: Settings) -> None:
    assert "administrators' sign-in" in {one["part"] for one in doctor()[1] if one["level"] == "ok"}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CLIENT_SECRET", "an-old-one", "the application is refused: Entra sign-in: invalid_client"),
        ("CLIENT_ID", "00000000-0000-0000-0000-000000000000", "the application is refused"),
        ("TENANT", "nobodys.example", "Entra sign-in: "),
        ("AUTHORITY", "https://login.microsoftonline.invalid", "Entra sign-in: "),
    ],
)
def test_an_administrators_sign_in_that_fails_is_named(
    people_sign_in: Settings, name: str, value: str, says: str
) -> None:
    setattr(people_sign_in, f"TOKENHUB_ENTRA_{name}", value)
    found = errors(doctor()[1])
    assert says in found.pop("administrators' sign-in")
    assert found.keys() <= {"TLS login.microsoftonline.invalid"}
    if name == "AUTHORITY":
        assert "of the administrators' sign-in: its name is not known" in found["TLS login.microsoftonline.invalid"]


@pytest.mark.parametrize(
    ("variable", "value"), [("SSL_CERT_FILE", "/nonexistent"), ("HTTPS_PROXY", "socks9://u:hunter2@x:1")]
)
def test_where_nothing_can_be_called_that_is_said_and_the_rest_looked_at(
    well: World, variable: str, value: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, value)
        status, findings = doctor()
    assert status == 1
    assert variable in errors(findings)["settings"]
    assert "hunter2" not in json.dumps(findings)
    assert "beat" in {finding["part"] for finding in findings}


def test_scripts_get_json_also_where_a_setting_cannot_be_read() -> None:
    done = run_doctor("--json", TOKENHUB_LEASE_SECONDS="60s")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["ok"] is False
    assert "TOKENHUB_LEASE_SECONDS" in errors(said["findings"])["settings"]


def test_the_last_line_names_what_is_wrong(well: World) -> None:
    MobileApp.objects.update(api_token="an-old-one")
    valkey().hdel(vitals.HEARTS, vitals.BEAT)
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", stdout=out, no_color=True)
    assert out.getvalue().splitlines()[-1].startswith("2 errors (app shop, beat), ")


def test_a_person_reads_it_top_down(well: World, caplog: pytest.LogCaptureFixture) -> None:
    connect.credentials.cache_clear()
    out = io.StringIO()
    with caplog.at_level(logging.INFO):
        call_command("doctor", stdout=out, no_color=True)
    assert caplog.records == [], "no line about its own calls disturbs the report"
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("tokenhub ")
    assert lines[1].startswith(("ok       database", "warning  database"))
    assert lines[-1].startswith("0 errors, ")
