"""A token bucket for each app, shared by all workers: how many calls CI-J gets from us.

Microsoft documents no limit, only that the CRM may be throttled for hours; so we set our own. Kept in Valkey as one
number, the time until which the calls made so far have used the bucket up (GCRA). While Valkey is away calls go
through: the pauses still hold.
"""

import logging

import redis

logger = logging.getLogger(__name__)

_USE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local used_until = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
used_until = used_until + tonumber(ARGV[1])
if tonumber(ARGV[1]) > 0 then
    redis.call('SET', KEYS[1], string.format('%.6f', used_until), 'PX', math.ceil((used_until - now) * 1000) + 1000)
end
return string.format('%.6f', used_until - now)
"""


class Bucket:
    """The bucket of one app at `rate` calls a second; `burst`: seconds whose calls may be made at once."""

    def __init__(self, valkey: "redis.Redis", app_id: int, rate: float, burst: float) -> None:
        self._script = valkey.register_script(_USE)
        self._key = f"tokenhub:bucket:{app_id}"
        self._interval = 1 / rate
        self._burst = burst

    def is_empty(self) -> bool:
        """Whether no call may be made now."""
        return self._used(0.0) > self._burst - self._interval

    def use(self) -> None:
        """Count one call. May go below empty, where one batch turns out to need several calls."""
        self._used(self._interval)

    def _used(self, seconds: float) -> float:
        try:
            return float(self._script(keys=[self._key], args=[seconds]))
        except redis.RedisError as error:
            logger.warning("no token bucket: %s", type(error).__name__)
            return 0.0
