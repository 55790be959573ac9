import uuid

import redis
from django.conf import settings

from registry.services.valkey import valkey
from sync.bucket import Bucket

BURST = 10.0


def bucket(rate: float) -> Bucket:
    return Bucket(valkey(), uuid.uuid4().int, rate, BURST)


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    tested = bucket(rate=2)
    made = 0
    while not tested.is_empty():
        tested.use()
        made += 1
        assert made < 100
    assert made == 2 * BURST


def test_asking_uses_nothing_up() -> None:
    tested = bucket(rate=0.1)
    assert not any(tested.is_empty() for _ in range(5))


def test_a_batch_that_needed_more_calls_is_paid_back() -> None:
    tested = bucket(rate=1)
    for _ in range(30):
        tested.use()
    assert tested.is_empty()


def test_without_valkey_calls_go_through() -> None:
    nowhere = redis.Redis(port=1, socket_connect_timeout=0.1)
    assert settings.REDIS_URL
    assert not Bucket(nowhere, 1, 1, BURST).is_empty()
