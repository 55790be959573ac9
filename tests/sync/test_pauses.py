"""Pauses that several workers write: none is shortened, replaced or ended by news that does not concern it."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from registry.models import MobileApp
from sync import pauses
from sync.clients.errors import Denied, Refused, Throttled, Unavailable
from tests.races import uncommitted


def remaining(app: MobileApp) -> float:
    return (app.pauses.get().until - timezone.now()).total_seconds()


def test_the_longest_of_several_waits_that_were_asked_for_holds(app: MobileApp) -> None:
    pauses.rest(app, Throttled("HTTP 429", 77))
    pauses.rest(app, Throttled("HTTP 429", 5))
    assert remaining(app) > 70


def test_silence_says_nothing_new_of_one_that_asked_us_to_wait(app: MobileApp) -> None:
    pauses.rest(app, Throttled("HTTP 429", 77))
    pauses.rest(app, Unavailable("HTTP 500"))
    assert app.pauses.get().reason == "throttled"
    assert remaining(app) > 70


def test_another_reason_takes_the_place_of_silence(app: MobileApp) -> None:
    for _ in range(3):
        pauses.rest(app, Unavailable("HTTP 500"))
    pauses.rest(app, Refused("HTTP 400"))
    assert (app.pauses.get().reason, app.pauses.get().failures) == ("configuration", 1)


def test_failures_of_another_kind_lengthen_no_rest(app: MobileApp) -> None:
    for _ in range(4):
        pauses.rest(app, Throttled("HTTP 429", 1))
    pauses.rest(app, Denied("ApiTokenNotValid"))
    assert remaining(app) <= 15  # the first failure of its kind: probed as soon as any


def test_a_probe_that_fails_rests_for_no_longer_than_it_was_asked_to(app: MobileApp) -> None:
    pauses.rest(app, Throttled("HTTP 429", 1))
    app.pauses.update(until=timezone.now())
    probe = pauses.gate(app, 100)
    assert probe.claim(lambda limit: [limit]) == [1]
    assert remaining(app) > 10  # nobody else probes meanwhile
    probe.heed(Throttled("HTTP 429", 2))
    assert remaining(app) < 3


def test_whether_the_credentials_are_good_is_not_forgotten_while_it_is_throttled(app: MobileApp) -> None:
    pauses.rest(app, Denied("HTTP 401"))
    pauses.rest(app, Throttled("HTTP 429", 77))
    assert app.pauses.get().reason == "credentials"
    assert remaining(app) > 70


def test_refused_credentials_are_probed_ever_more_seldom_and_not_beyond_a_set_time(settings: Settings) -> None:
    settings.TOKENHUB_SLOWEST_PROBE = timedelta(minutes=1)
    assert [pauses.probe_after(failures).total_seconds() for failures in (1, 2, 3, 4)] == [15, 30, 60, 60]


def test_a_call_that_was_answered_well_does_not_end_a_pause_that_came_meanwhile(app: MobileApp) -> None:
    pauses.rest(app, Unavailable("HTTP 500"))
    asked = pauses.gate(app, 100)
    pauses.rest(app, Denied("HTTP 401"))
    asked.heed(None)
    assert app.pauses.get().reason == "credentials"
    assert pauses.gate(app, 100).limit == 0


@pytest.mark.django_db(transaction=True)
def test_workers_that_fail_at_the_same_time_write_one_pause_and_count_both(app: MobileApp) -> None:
    with uncommitted(lambda: pauses.rest(app, Unavailable("HTTP 500"))):
        pauses.rest(app, Unavailable("HTTP 500"))
    assert app.pauses.get().failures == 2
