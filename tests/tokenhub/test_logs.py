"""What other libraries log, in our lines. What a whole installation logs: tests/journeys/test_logs.py."""

import logging

import pytest
from celery.beat import ScheduleEntry
from celery.schedules import schedule
from django.conf import settings

from tokenhub.beat import Scheduler
from tokenhub.celery import SWEEP, app


def test_beat_says_once_that_it_cannot_send_sweeps_and_once_that_it_can_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outages = iter((False, True, True, True, False, False, True, False))

    def sent(*args: object, **kwargs: object) -> None:
        if next(outages):
            raise ConnectionError("Connection refused")

    monkeypatch.setattr(Scheduler, "apply_async", sent)
    assert f"{Scheduler.__module__}:{Scheduler.__name__}" == settings.CELERY_BEAT_SCHEDULER
    beat = Scheduler(app, lazy=True, schedule_filename="")
    sweep = ScheduleEntry(name="sweep", task=SWEEP, schedule=schedule(10), app=app)
    outage = ["sweeps wait until Valkey answers: Connection refused", "sweeps are sent again"]
    with caplog.at_level(logging.INFO):
        for _ in range(8):
            beat.apply_entry(sweep)
    assert [record.getMessage() for record in caplog.records] == outage * 2
    assert not any(record.exc_info for record in caplog.records)
