"""What a whole demo logs at its most talkative: nobody's data, no secret, and one id from post to call."""

import asyncio
import io
import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from rich.console import Console

from sandbox.admin_client import SandboxAdmin
from sandbox.demo.drive import drive
from sandbox.demo.report import Display
from sandbox.demo.stack import Details, Stack
from tokenhub.embedded import state

PHONES = 12
SERVICES = ("web", "worker", "urgent", "beat", "postgres", "valkey")
PASSWORD, USER_TOKEN = "wr0ng-pa55word-of-anna", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIn0.c2lnbmF0dXJl"
MADE_UP_KEY = "thub_mob_" + "k" * 43
HOSTILE = "hostile.user@contoso.example"


@dataclass(frozen=True)
class Told:
    """What was logged, by service, and what must not be in it, by what it is."""

    lines: dict[str, list[str]]
    secrets: dict[str, set[str]]

    def events(self, name: str) -> list[dict[str, Any]]:
        parsed = [json.loads(line) for service in ("web", "worker", "urgent") for line in self.lines[service]]
        return [event for event in parsed if event["event"] == name]


def leaks(lines: dict[str, list[str]], secrets: dict[str, set[str]]) -> list[str]:
    """Which kind of datum stands in which service's log."""
    texts = {service: "\n".join(lines[service]).casefold() for service in lines}
    return [
        f"{kind} in the log of {service}"
        for service, text in texts.items()
        for kind, values in secrets.items()
        if any(len(value) > 4 and value.casefold() in text for value in values)
    ]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    environment = {"TOKENHUB_LOG_LEVEL": "DEBUG", "TOKENHUB_LOG_FORMAT": "json"}
    for name in ("TOKENHUB_SECRET_KEY", "TOKENHUB_ENCRYPTION_KEYS", "TOKENHUB_KEY_CACHE_SECONDS"):
        environment[name] = ""  # the test run's own are not the demo's
    stack = Stack(tmp_path_factory.mktemp("logs") / "demo", 0, {"TOKENHUB_KEY_CACHE_SECONDS": "3"})
    stack._environment |= {name: value for name, value in environment.items() if value}
    with stack:
        details = stack.wait_until_ready()
        display = Display(Console(file=io.StringIO()), PHONES)
        run = asyncio.run(drive(stack, details, display, phones=PHONES, run_seed=7, started_in=0.0))
        assert run.agrees
        running = state.running(stack.data)
        assert running is not None
        secrets = {**_of_files(stack.data, running.database_url, running.redis_url), **_of_rows(running.database_url)}
        secrets |= _misbehave(details, running.database_url)
        with SandboxAdmin.from_file(details.sandbox) as admin:
            secrets["push tokens"] |= {effect.token for effect in admin.effects() if effect.token}
    lines: dict[str, list[str]] = {service: [] for service in SERVICES}
    for line in stack.log.read_text(errors="replace").splitlines():
        service, _, text = line.partition("|")
        words_of_celery = not text.strip() or text.strip().startswith(
            "worker: "
        )  # printed past every logger as it ends
        if (
            service.strip() in lines and not words_of_celery
        ):  # `up` itself speaks to whoever started it, and shows the admin's first password
            lines[service.strip()].append(text.strip())
    return Told(lines, secrets)


def _of_files(data: Path, *urls: str) -> dict[str, set[str]]:
    """Everything in the data folder that looks like a secret, by the names of the fields."""
    found: set[str] = set()

    def look(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                look(inner, key)
        elif isinstance(value, list):
            for inner in value:
                look(inner, name)
        elif isinstance(value, str) and re.search("key|secret|token|password", name):
            found.add(value)

    for path in [data / "secrets.json", data / "demo.json", *(data / "sandbox").glob("*.json")]:
        look(json.loads(path.read_text()), "")
    found |= {url.split("@")[0].rpartition(":")[2] for url in urls}
    assert len(found) > 8, found
    return {"secrets": found}


def _of_rows(database_url: str) -> dict[str, set[str]]:
    queries = {
        "push tokens": "SELECT token FROM registry_device UNION SELECT token FROM registry_registration",
        "user ids": "SELECT external_id FROM registry_mobileuser",
        "e-mail addresses": "SELECT email FROM registry_mobileuser",
        "phone numbers": "SELECT phone FROM registry_mobileuser",
        "installation ids": "SELECT installation_id FROM registry_device",
        "records": "SELECT dataverse_id::text FROM registry_registration",
    }
    with psycopg.connect(database_url) as connection:
        return {kind: {row[0] for row in connection.execute(query) if row[0]} for kind, query in queries.items()}


def _misbehave(details: Details, database_url: str) -> dict[str, set[str]]:
    """Everything that is refused is a reason to log; so is what PostgreSQL itself refuses."""
    key = {"Authorization": f"Bearer {details.server_key}"}
    token = f"hostile-{uuid.uuid4()}"
    launch = {"installation_id": "phone-hostile", "platform": "android", "token": token}
    with httpx2.Client(base_url=details.url, headers={"Connection": "close"}) as web:
        web.post("/api/v1/devices", headers=key, content=f'{{"token": "{token}", "user": {{"email": "{HOSTILE}"')
        web.post("/api/v1/devices", headers=key, json={**launch, "platform": HOSTILE, HOSTILE: token})
        web.post("/api/v1/devices", headers={"Authorization": f"Bearer {MADE_UP_KEY}"}, json=launch)
        web.post("/api/v1/devices", headers={"Authorization": f"Bearer {details.mobile_key}"},
                 json={**launch, "user": {"token": USER_TOKEN}})  # fmt: skip
        web.get(f"/api/v1/users/{HOSTILE}", headers=key)
        web.get(f"/{HOSTILE}/{token}?token={token}", headers={"Host": f"{HOSTILE}"})
        web.put(f"/api/v1/users/{HOSTILE}", headers=key, json={"email": HOSTILE})
        web.delete(f"/api/v1/users/{HOSTILE}", headers=key)
        form = {"username": HOSTILE, "password": PASSWORD}
        web.get("/admin/login/")
        web.post("/admin/login/", data={**form, "csrfmiddlewaretoken": web.cookies.get("csrftoken") or ""})
        web.post("/admin/login/", data=form, headers={"Referer": f"http://{HOSTILE}/"})
    with psycopg.connect(database_url, autocommit=True) as connection:
        statement = "INSERT INTO registry_mobileuser (external_id, email, phone) VALUES (%s, %s, %s)"
        with pytest.raises(psycopg.errors.NotNullViolation):
            connection.execute(statement, ["phone-hostile", HOSTILE, token[:16]])
    return {"what was refused": {token, HOSTILE, PASSWORD, USER_TOKEN, MADE_UP_KEY, "phone-hostile"}}


def test_every_service_was_listened_to(told: Told) -> None:
    assert [service for service in SERVICES if not told.lines[service]] == []
    assert [kind for kind, values in told.secrets.items() if not values] == []


def test_nobody_s_data_and_no_secret_is_in_any_log(told: Told) -> None:
    assert leaks(told.lines, told.secrets) == []


@pytest.mark.parametrize("service", SERVICES)
def test_one_leak_would_be_found(told: Told, service: str) -> None:
    (email, *_) = told.secrets["e-mail addresses"]
    spoilt = {**told.lines, service: [*told.lines[service], f"looking up {email.upper()}"]}
    assert leaks(spoilt, told.secrets) == [f"e-mail addresses in the log of {service}"]


def test_one_id_runs_from_a_post_by_a_task_to_a_call(told: Told) -> None:
    posts = {event["correlation_id"] for event in told.events("request") if event.get("result") == "created"}
    calls = told.events("call")
    registered = {trace for call in calls if call["call"] == "register" for trace in call["carries"]}
    assert len(posts) >= PHONES / 2
    assert registered & posts
    assert registered <= {event["correlation_id"] for event in told.events("request")}
    nudged = {call.get("nudged_by") for call in calls} - {None}
    assert nudged
    assert nudged <= {event["correlation_id"] for event in told.events("request")}
    assert all(call["task_id"] and call["step"] for call in calls)


def test_every_line_of_ours_is_json_with_the_version(told: Told) -> None:
    for service in ("web", "worker", "urgent", "beat"):
        for line in told.lines[service]:
            assert json.loads(line)["version"], f"{service}: {line}"
