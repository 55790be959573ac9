"""How a worker lives without Valkey. What is late meanwhile: tests/journeys/test_outages.py."""

import pytest

from tokenhub.celery import app


class EnoughError(Exception):
    """The test has seen what it wanted."""


def test_a_worker_waits_for_valkey_for_as_long_as_it_is_away() -> None:
    tries = 0

    def failed(error: BaseException, interval: float) -> None:
        nonlocal tries
        tries += 1
        if tries == 150:  # an hour and more, in a worker
            raise EnoughError

    # As Celery's consumer does it, without the pauses.
    limit = app.conf.broker_connection_max_retries
    with app.connection("redis://127.0.0.1:1/0") as connection, pytest.raises(EnoughError):
        connection.ensure_connection(failed, limit, interval_start=0, interval_step=0, interval_max=0)
