"""How many requests a caller may make: by key and by client address, counted in Valkey for all processes together.

Each limit is one number in Valkey, the time until which the requests made so far use it up (the generic cell rate
algorithm, GCRA): a caller may make all requests of its minute at once, and then gets them back one by one. One script
looks at all limits of a request and counts it against all of them or, where one is used up, against none.

While Valkey is away requests go through: it is there to keep the database from being flooded, not to let phones in.
"""

import ipaddress
import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import redis
from django.conf import settings
from django.utils.crypto import salted_hmac

from registry.models import ApiKey
from registry.services.valkey import Script
from registry.states import KeyKind

logger = logging.getLogger(__name__)

WINDOW = 60.0  # seconds
REST = 5.0  # seconds without a try after Valkey did not answer

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network
type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_COUNT = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local window = tonumber(ARGV[1])
local used, all = {}, true
for i, key in ipairs(KEYS) do
    used[i] = math.max(tonumber(redis.call('GET', key) or 0), now) + tonumber(ARGV[i + 1])
    all = all and used[i] - now <= window
end
local answer = {}
for i, key in ipairs(KEYS) do
    if all then
        redis.call('SET', key, string.format('%.6f', used[i]), 'PX', math.ceil((used[i] - now) * 1000) + 1000)
    end
    answer[i] = string.format('%.6f', used[i] - now)
end
return answer
"""
_count = Script(_COUNT)


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


class _Outage:
    """Until when Valkey is not asked: nobody waits for it again and again, and the log says it once."""

    until = 0.0


class _Flood:
    """Until when this process takes it that some caller goes on after its limit is used up."""

    until = 0.0


def refused_lately() -> bool:
    """Whether this process has refused a request in the last second."""
    return time.monotonic() < _Flood.until


def count(limits: Sequence[Limit]) -> list[Count]:
    """Count one request; nothing was counted where one of them is exceeded. Nothing at all while Valkey is away."""
    return counting(limits)()


def counting(limits: Sequence[Limit]) -> Callable[[], list[Count]]:
    """`count` for who has something else to do meanwhile: what is returned waits for the answer, on this thread."""
    if not limits or time.monotonic() < _Outage.until:
        return list
    intervals = [WINDOW / limit.quota for limit in limits]
    try:
        answer = _count.ask([_key(limit.name, limit.subject) for limit in limits], [WINDOW, *intervals])
    except redis.RedisError as error:
        return _not_counted(error)
    return partial(_counted, limits, answer)


def _counted(limits: Sequence[Limit], answer: Callable[[], Any]) -> list[Count]:
    try:
        used = answer()
    except redis.RedisError as error:
        return _not_counted(error)()
    counts = [Count(limit, float(seconds)) for limit, seconds in zip(limits, used, strict=True)]
    if any(count.exceeded for count in counts):
        _Flood.until = time.monotonic() + 1.0
    return counts


def _not_counted(error: redis.RedisError) -> Callable[[], list[Count]]:
    _Outage.until = time.monotonic() + REST
    logger.warning("requests are not limited for %.0f s: %s", REST, type(error).__name__)
    return list


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
