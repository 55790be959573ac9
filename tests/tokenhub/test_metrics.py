"""/metrics: closed by default, read from the tables."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from registry.models import DataverseMapping, MobileApp
from registry.services.erasure import erase_user
from sync import pauses
from sync.clients.errors import Denied
from tests.conftest import Api


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
