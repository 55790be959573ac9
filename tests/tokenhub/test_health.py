"""The probes: what makes a process unready, and what must not."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings

from registry.models import MobileApp
from registry.services import vitals
from registry.services.valkey import valkey
from tests.conftest import Api
from tokenhub import health
from tokenhub.version import VERSION

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    forget()
    valkey().delete(vitals.HEARTS, vitals.PROCESSES)
    yield
    forget()


def forget() -> None:
    health._Last.parts, health._Last.migrated = (), False


def ready() -> tuple[int, dict[str, Any]]:
    forget()
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def test_a_process_that_answers_lives_and_tells_its_version() -> None:
    assert Client().get("/livez").json() == {"status": "ok", "version": VERSION}


def worker(monkeypatch: pytest.MonkeyPatch, *queues: str) -> None:
    monkeypatch.setattr(vitals._Reporter, "role", " ".join(["worker", *queues]))
    vitals.tell()


def test_where_all_is_well_each_part_says_so(app: MobileApp, monkeypatch: pytest.MonkeyPatch) -> None:
    vitals.beats(vitals.BEAT)
    worker(monkeypatch, "tokenhub", "tokenhub.events", "tokenhub.urgent")
    parts = {"database": "ok", "migrations": "ok", "keys": "ok", "broker": "ok", "beat": "ok", "workers": "ok"}
    assert ready() == (200, {"status": "ok", "version": VERSION, **parts})


def test_a_silent_beat_is_told_and_turns_nobody_away(monkeypatch: pytest.MonkeyPatch) -> None:
    status, body = ready()
    assert (status, body["status"], body["beat"]) == (200, "degraded", "has not been heard of")
    now: Any = valkey().time()
    valkey().hset(vitals.HEARTS, vitals.BEAT, f"{now[0] - 300} ")
    monkeypatch.setattr(redis.Redis, "time", lambda _: now)  # or a second might pass
    status, body = ready()
    assert (status, body["beat"]) == (200, "is silent for 300 s")


def test_queues_that_nobody_takes_from_are_told_and_turn_nobody_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ready()[1]["workers"] == "nobody takes from tokenhub, tokenhub.urgent, tokenhub.events"
    worker(monkeypatch, "tokenhub", "tokenhub.events")
    status, body = ready()
    assert (status, body["status"], body["workers"]) == (200, "degraded", "nobody takes from tokenhub.urgent")


def test_without_the_broker_posts_are_kept_and_the_process_is_ready(
    monkeypatch: pytest.MonkeyPatch, server: Api
) -> None:
    nobody = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=1)
    monkeypatch.setattr(vitals, "valkey", lambda: nobody)
    status, body = ready()
    assert (status, body["status"], body["broker"]) == (200, "degraded", "does not answer")
    assert server.launch(user={"id": "anna"}).status_code == 201


def test_without_the_database_it_is_not_ready_and_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object) -> None:
        raise OperationalError("connection refused: password=hunter2")

    monkeypatch.setattr(connection, "cursor", away)
    status, body = ready()
    assert (status, body["status"], body["database"]) == (503, "unavailable", "does not answer")
    assert "hunter2" not in str(body)
    assert Client().get("/livez").status_code == 200


def test_a_schema_behind_the_code_is_not_ready_and_one_ahead_is() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('registry', '9999_later', now())")
        assert ready()[0] == 200
        cursor.execute(
            "DELETE FROM django_migrations WHERE name = ("
            "SELECT max(name) FROM django_migrations WHERE app = 'registry' AND name < '9999')"
        )
    status, body = ready()
    assert (status, body["status"]) == (503, "unavailable")
    assert "run manage.py migrate" in body["migrations"]


def test_keys_of_another_installation_are_not_ready_and_one_odd_secret_is(app: MobileApp, settings: Settings) -> None:
    ours = settings.TOKENHUB_ENCRYPTION_KEYS
    settings.TOKENHUB_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert ready()[1]["keys"] == "TOKENHUB_ENCRYPTION_KEYS open none of the stored secrets"
    assert ready()[0] == 503
    MobileApp.objects.update(api_token="renewed with the other key")
    settings.TOKENHUB_ENCRYPTION_KEYS = ours
    assert ready()[0] == 200


def test_second_factors_that_cannot_be_read_tell_of_wrong_keys_where_there_is_no_app_yet(settings: Settings) -> None:
    TOTP.activate(User.objects.create_user("olga"), generate_totp_secret())
    assert ready()[1]["keys"] == "ok"
    settings.TOKENHUB_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert ready()[1]["keys"] == "TOKENHUB_ENCRYPTION_KEYS open none of the stored secrets"


def test_an_answer_is_kept_for_a_moment_so_that_probes_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def look() -> list[health.Part]:
        asked.append(1)
        return [health.Part("database", "ok", needed=True)]

    monkeypatch.setattr(health, "_look", look)
    monkeypatch.setattr(health, "KEPT", 60.0)
    assert [Client().get("/readyz").status_code for _ in range(5)] == [200] * 5
    assert len(asked) == 1
