"""How many requests a caller may make: by key and by client address, all processes together.

Each limit is one number, the time until which the requests made so far use it up (the generic cell rate algorithm,
GCRA): a caller may make all requests of its minute at once, and then gets them back one by one. A request is looked at
by all its limits and counted against all of them or, where one is used up, against none.

Counting waits for nobody: each process counts in its own memory, and a thread of it adds what was counted to the sums
in Valkey every SHARED seconds, and takes over what these say. So a process knows of its own requests at once and of the
others' that much later; what went through meanwhile is in the sum, and is waited for before the next one may.

While Valkey is away each process limits what comes to it. Nothing waits for it then either.
"""

import ipaddress
import logging
import math
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import redis
from django.conf import settings
from django.utils.crypto import salted_hmac

from registry.models import ApiKey
from registry.services.soon import Soon
from registry.services.valkey import Script
from registry.states import KeyKind

logger = logging.getLogger(__name__)

WINDOW = 60.0  # seconds
SHARED = 0.05  # seconds after which the other processes know
REST = 5.0  # seconds without a try after Valkey did not answer

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network
type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Adds to each key the seconds of its argument, and says how many are used with them: of all processes.
_ADD = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local answer = {}
for i, key in ipairs(KEYS) do
    local used = math.max(tonumber(redis.call('GET', key) or 0), now) + tonumber(ARGV[i])
    redis.call('SET', key, string.format('%.6f', used), 'PX', math.ceil((used - now) * 1000) + 1000)
    answer[i] = string.format('%.6f', used - now)
end
return answer
"""
_add = Script(_ADD)


@dataclass(frozen=True)
class Limit:
    """`quota` requests a minute for whatever `name` and `subject` say."""

    name: str
    subject: str
    quota: int


@dataclass(frozen=True)
class Count:
    """How a limit stands after a request. `used`: seconds until all of the quota is there again, with this request."""

    limit: Limit
    used: float

    @property
    def exceeded(self) -> bool:
        return self.used > WINDOW

    @property
    def remaining(self) -> int:
        """Requests that may be made at once."""
        return max(0, math.floor((WINDOW - self.used) / (WINDOW / self.limit.quota) + 1e-6))

    @property
    def reset(self) -> int:
        """Seconds until all of the quota is there again."""
        return math.ceil(min(self.used, WINDOW))

    @property
    def retry_after(self) -> int:
        """Seconds until one request may be made; 0: now."""
        return max(0, math.ceil(self.used - WINDOW))


def of_key(key: ApiKey, address: str) -> list[Limit]:
    """The limits of a request with a key. A server key has none by address: its requests come from a few machines."""
    if key.kind == KeyKind.SERVER:
        return _in_force(Limit("key", str(key.pk), settings.TOKENHUB_LIMIT_SERVER_KEY))
    return _in_force(
        Limit("key", str(key.pk), settings.TOKENHUB_LIMIT_MOBILE_KEY),
        Limit("address", address, settings.TOKENHUB_LIMIT_ADDRESS),
    )


def of_address(address: str) -> list[Limit]:
    """The limit of a request without a key."""
    return _in_force(Limit("address", address, settings.TOKENHUB_LIMIT_ADDRESS))


def of_stranger(address: str) -> list[Limit]:
    """The limits of a request whose key is unknown: nobody goes through them by trying."""
    return _in_force(Limit("refused", address, settings.TOKENHUB_LIMIT_REFUSED))


def _in_force(*limits: Limit) -> list[Limit]:
    return [limit for limit in limits if limit.quota > 0 and limit.subject]


class _Meter:
    """What this process counted, and has been told of the others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used_until: dict[str, float] = {}  # by this process's monotonic clock
        self._not_shared: dict[str, float] = {}  # seconds that were used here and are in no sum yet
        self._soon = Soon(self._share_all, seconds=SHARED, name="limits")

    def count(self, limits: Sequence[Limit]) -> list[Count]:
        costs = [(_key(limit.name, limit.subject), WINDOW / limit.quota) for limit in limits]
        now = time.monotonic()
        with self._lock:
            used = [max(self._used_until.get(key, now) - now, 0.0) + cost for key, cost in costs]
            if max(used) <= WINDOW:
                for (key, cost), seconds in zip(costs, used, strict=True):
                    self._used_until[key] = now + seconds
                    self._not_shared[key] = self._not_shared.get(key, 0.0) + cost
                self._soon.ask()
        return list(map(Count, limits, used))

    def share(self) -> None:
        """Add what was counted to the sums in Valkey, and take these over. Raises redis.RedisError: then it is known
        here alone."""
        with self._lock:
            sent, self._not_shared = self._not_shared, {}
        sums = _add(list(sent), list(sent.values())) if sent else []
        now = time.monotonic()
        with self._lock:
            for key, seconds in zip(sent, sums, strict=True):
                self._used_until[key] = now + float(seconds) + self._not_shared.get(key, 0.0)

    def _share_all(self) -> None:
        try:
            self.share()
        except redis.RedisError as error:
            logger.warning("each process limits for itself for %.0f s: %s", REST, type(error).__name__)
            time.sleep(REST)
        self._forget()

    def _forget(self) -> None:
        """Drop the limits that nothing is used of any more."""
        now = time.monotonic()
        with self._lock:
            self._used_until = {key: until for key, until in self._used_until.items() if until > now}


_meter = _Meter()


def count(limits: Sequence[Limit]) -> list[Count]:
    """Count one request; nothing was counted where one of them is exceeded."""
    return _meter.count(limits) if limits else []


def _after_fork() -> None:
    """What the parent counted is the parent's to share."""
    global _meter  # noqa: PLW0603 one of each process
    _meter = _Meter()


os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=4096)
def _key(name: str, subject: str) -> str:
    # An address is personal data, and Valkey is no place for it.
    hashed = salted_hmac("tokenhub.limits", subject, algorithm="sha256").hexdigest()[:32]
    return f"tokenhub:limit:{name}:{hashed}"


def client_of(remote: str, forwarded_for: str, trusted: tuple[Network, ...]) -> Address | None:
    """Who asks: the address that connected or, where that is a trusted proxy's, the one that it forwards for.

    `forwarded_for` is read from its end, since everything before the last trusted proxy's own entry is the client's
    to invent. None where there is no address at all.
    """
    client = _parse(remote)
    hops = [hop.strip() for hop in forwarded_for.split(",")] if forwarded_for else []
    while client is not None and hops and _is_among(client, trusted):
        before = _parse(hops.pop())
        if before is None:
            break  # nothing that a proxy of ours writes
        client = before
    return client


@lru_cache(maxsize=4096)
def client_address(remote: str, forwarded_for: str, trusted: tuple[Network, ...]) -> str:
    """Who is limited: `client_of`, IPv6 by its /64, which is one household. Empty where there is no address at all."""
    client = client_of(remote, forwarded_for, trusted)
    if client is None:
        return ""
    return str(ipaddress.ip_network((client, 64), strict=False)) if client.version == 6 else str(client)


# Azure's gateways write the port as well: 192.0.2.1:4711, [2001:db8::1]:4711.
_WITH_PORT = re.compile(r"(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?", re.ASCII)


def _parse(text: str) -> Address | None:
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((with_port["v4"] or with_port["v6"]) if with_port else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_among(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
