"""How long we are asked to wait."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from sync.clients.http import DEFAULT_RETRY_AFTER, MAX_RETRY_AFTER, retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("7.5", 7.5),
        ("0", 1),
        ("-5", 1),
        ("86400", MAX_RETRY_AFTER),
        ("inf", MAX_RETRY_AFTER),
        ("nan", DEFAULT_RETRY_AFTER),
        ("", DEFAULT_RETRY_AFTER),
        ("soon", DEFAULT_RETRY_AFTER),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
    ],
)
def test_a_number_is_bounded_and_anything_odd_is_a_default(value: str, seconds: float) -> None:
    assert retry_after(value) == seconds


def test_a_date_is_waited_for() -> None:
    assert 50 < retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)) <= 60
