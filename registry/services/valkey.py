"""The connection to Valkey or Redis of this process: marks, counts and nudges, which everybody can do without."""

from functools import cache

import redis
from django.conf import settings


@cache
def valkey() -> "redis.Redis":
    """Made on first use and so after the fork. A call that gets no answer fails after a second."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
