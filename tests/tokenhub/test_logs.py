"""What other libraries log, in our lines. What a whole installation logs: tests/journeys/test_logs.py."""

import io
import logging

import pytest
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule

from tokenhub.celery import SWEEP, app
from tokenhub.logs import formatter


def test_a_sweep_that_cannot_be_sent_is_one_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(formatter())

    def nobody(*args: object, **kwargs: object) -> None:
        raise ConnectionError("Connection refused")

    monkeypatch.setattr(Scheduler, "apply_async", nobody)
    logging.getLogger().addHandler(handler)
    try:
        Scheduler(app, lazy=True).apply_entry(ScheduleEntry(name="sweep", task=SWEEP, schedule=schedule(10), app=app))
    finally:
        logging.getLogger().removeHandler(handler)
    assert "Connection refused" in said.getvalue()
    assert "Traceback" not in said.getvalue()
    assert "File " not in said.getvalue()
    assert len(said.getvalue()) < 300
