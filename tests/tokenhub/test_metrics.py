"""/metrics: closed by default, read from the tables."""

import json
import re
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from registry.models import DataverseMapping, MobileApp
from registry.services import counters, own_connection, vitals
from registry.services.erasure import erase_user
from registry.services.valkey import valkey
from sync import pauses, tasks
from sync.clients.errors import Denied
from sync.steps import census
from tests.conftest import Api
from tokenhub import metrics
from tokenhub.collectors import ValkeyCollector
from tokenhub.metrics import TablesCollector
from tokenhub.version import VERSION

TRACKING_ID = str(uuid.uuid4())


def scrape(token: str = "") -> tuple[int, str]:
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})
    return answer.status_code, answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("token", ["", "guessed"])
def test_without_a_token_in_the_settings_there_are_none(token: str) -> None:
    assert scrape(token) == (404, "")


@pytest.mark.django_db
@pytest.mark.parametrize("token", ["", "guessed", "scrap\u00e9"])
def test_only_the_right_token_is_let_in(settings: Settings, token: str) -> None:
    settings.TOKENHUB_METRICS_TOKEN = "scrape-me"
    assert scrape(token) == (401, "")


def test_they_say_what_rests_what_waits_and_what_needs_a_person(
    app: MobileApp, server: Api, settings: Settings
) -> None:
    settings.TOKENHUB_METRICS_TOKEN = "scrape-me"
    server.launch(user={"id": "anna"})
    server.launch(installation_id="b", token="b", user={"id": "bert"})
    erase_user(app, "anna", "command line")
    DataverseMapping.objects.update(due_at=timezone.now() - timedelta(seconds=90))
    pauses.rest(app, Denied("HTTP 401"))
    status, text = scrape("scrape-me")
    assert status == 200
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["tokenhub_alert", "paused", "app shop"] == 1
    assert samples["tokenhub_paused", "shop", "", "", "credentials"] == 1
    assert samples["tokenhub_oldest_due_seconds", "shop", "map"] >= 90
    assert samples["tokenhub_oldest_due_seconds", "shop", "push"] == 0
    assert samples[("tokenhub_erasures_waiting",)] == 1


def samples(text: str) -> dict[tuple[str, ...], float]:
    """By the metric's name and its labels, `le` last."""
    return {
        (
            sample.name,
            *(v for k, v in sample.labels.items() if k != "le"),
            *([le] if (le := sample.labels.get("le")) else []),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def nothing_counted(settings: Settings) -> None:
    settings.TOKENHUB_METRICS_TOKEN = "scrape-me"
    counters._pending.clear()
    valkey().delete(counters.SUMS, census.COUNTED, census.RESTS)


@pytest.mark.usefixtures("nothing_counted")
def test_requests_launches_and_registrations_are_counted(app: MobileApp, server: Api) -> None:
    server.launch(user={"id": "anna"})
    server.launch(user={"id": "anna"})
    server.launch(token="")
    for tracking_id in (TRACKING_ID, TRACKING_ID, ""):
        server.post("events", {"installation_id": "phone-1", "tracking_id": tracking_id, "status": "opened"})
    tasks.run("census", "")
    counters.flush()
    found = samples(scrape("scrape-me")[1])
    route = "api/v1/devices"
    assert found["tokenhub_requests_total", "POST", route, "201"] == 1
    assert found["tokenhub_requests_total", "POST", route, "200"] == 1
    assert found["tokenhub_requests_total", "POST", route, "400"] == 1
    assert found["tokenhub_request_seconds_count", "POST", route] == 3
    assert found["tokenhub_request_seconds_bucket", "POST", route, "+Inf"] == 3
    assert found["tokenhub_launches_total", "shop", "created"] == 1
    assert found["tokenhub_launches_total", "shop", "unchanged"] == 1
    assert found["tokenhub_devices", "shop"] == 1
    assert found["tokenhub_registrations", "shop", "ready"] == 0
    assert found["tokenhub_census_age_seconds",] < 60
    assert [found["tokenhub_events_total", "shop", name] for name in ("accepted", "duplicate", "test_send")] == [
        1,
        1,
        1,
    ]
    assert found["tokenhub_events", "shop", "ready"] == 1
    assert found["tokenhub_partitions", "registry_interactionevent"] > 1
    assert found["tokenhub_partitions_bytes", "registry_interactionevent"] > 0
    assert found["tokenhub_build_info", VERSION] == 1


@pytest.mark.usefixtures("nothing_counted")
def test_paths_that_lead_nowhere_are_one_route_and_odd_methods_one_method(db: None) -> None:
    for number in range(3):
        Client().get(f"/api/v1/nothing/{number}")
    Client().generic("BREW", "/livez")
    counters.flush()
    found = samples(scrape("scrape-me")[1])
    assert found["tokenhub_requests_total", "GET", "unknown", "404"] == 3
    assert found["tokenhub_requests_total", "unknown", "livez", "200"] == 1


@pytest.mark.usefixtures("nothing_counted")
def test_processes_tell_of_themselves_until_they_stop(db: None) -> None:
    valkey().delete(vitals.PROCESSES, vitals.HEARTS)
    vitals._Reporter.role = "worker tokenhub.urgent"
    vitals.tell()
    vitals.beats(vitals.SWEEP)
    found = samples(scrape("scrape-me")[1])
    assert found["tokenhub_processes", "worker tokenhub.urgent", VERSION] == 1
    assert ("tokenhub_db_pool_connections", "worker tokenhub.urgent", "used") in found
    assert found["tokenhub_heart_age_seconds", "sweep"] < 60
    vitals.stop()
    assert not any(name == "tokenhub_processes" for name, *_ in samples(scrape("scrape-me")[1]))


@pytest.mark.usefixtures("nothing_counted")
def test_connections_that_threads_keep_for_launches_are_told_beside_the_pool_s(db: None) -> None:
    valkey().delete(vitals.PROCESSES)
    vitals._Reporter.role = "web api"
    own_connection.forget_connection()
    vitals.tell()
    before = samples(scrape("scrape-me")[1])["tokenhub_db_pool_connections", "web api", "own"]
    assert own_connection.run([(own_connection.Statement(b"one", b"SELECT 1"), [])])
    vitals.tell()
    assert samples(scrape("scrape-me")[1])["tokenhub_db_pool_connections", "web api", "own"] == before + 1
    own_connection.forget_connection()
    vitals.stop()


@pytest.mark.usefixtures("nothing_counted")
def test_what_a_newer_version_tells_besides_does_not_disturb_this_one(db: None) -> None:
    valkey().delete(vitals.PROCESSES)
    (now, _), newer = valkey().time(), {"role": "web", "version": "99", "host": "h", "pid": 1}
    valkey().hset(vitals.PROCESSES, "h:1", f"{now} {json.dumps({**newer, 'of_a_later_day': 1})}")
    counted = {"at": now, "registrations": {"shop": {"ready": 3}}, "devices": {"shop": 5}, "of_a_later_day": {}}
    valkey().set(census.COUNTED, json.dumps(counted))
    found = samples(scrape("scrape-me")[1])
    assert found["tokenhub_processes", "web", "99"] == 1
    assert found["tokenhub_devices", "shop"] == 5
    valkey().delete(vitals.PROCESSES, census.COUNTED)


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_counted")
def test_without_a_store_the_other_one_s_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object) -> None:
        raise OperationalError

    with monkeypatch.context() as without:
        without.setattr(metrics, "open_alerts", away)
        found = samples(scrape("scrape-me")[1])
        assert found["tokenhub_database_up",] == 0
        assert found["tokenhub_valkey_up",] == 1
    nobody = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=1)
    monkeypatch.setattr(counters, "valkey", lambda: nobody)
    found = samples(scrape("scrape-me")[1])
    assert found["tokenhub_database_up",] == 1
    assert found["tokenhub_valkey_up",] == 0


@pytest.mark.usefixtures("nothing_counted")
def test_every_metric_is_documented_with_its_labels_and_every_documented_one_exists(db: None) -> None:
    families = [family for collector in (TablesCollector(), ValkeyCollector()) for family in collector.collect()]
    there = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type)
        for family in families
        if not family.name.startswith("test_")
    }
    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(tokenhub_\w+)` \| (\w+) \| (.*?) \|", text, re.MULTILINE)
    assert {(name, kind) for name, kind, _ in rows} == there
    labels = {name: re.findall(r"`(\w+)`", told) for name, _, told in rows}
    for declared in counters.declared.values():
        if not declared.name.startswith("test_"):
            assert labels[declared.name] == list(declared.labels), declared.name
