"""Census: how many registrations of each state and how many active devices each app has.

Counting millions of rows takes seconds, so it is done now and then, by the indexes alone, and whoever wants to know
reads the last count from Valkey.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

import redis
from django.conf import settings
from django.db.models import Count

from registry.models import Device, MobileApp, Registration
from registry.services.valkey import valkey
from registry.states import RegistrationState

COUNTED, RESTS = "tokenhub:census", "tokenhub:census:rests"
KEPT = 24 * 3600  # seconds


@dataclass(frozen=True)
class Census:
    """The counts, by the apps' slugs; `age` in seconds."""

    registrations: dict[str, dict[str, int]]
    devices: dict[str, int]
    age: float = 0.0


def run_batch() -> int:
    """Count, where the last count is old enough; there is never more to do at once."""
    period = max(1, int(settings.TOKENHUB_CENSUS_PERIOD.total_seconds()))
    try:
        if valkey().set(RESTS, 1, nx=True, ex=period):
            now: Any = valkey().time()
            valkey().set(COUNTED, json.dumps({"at": now[0], **asdict(_count())}), ex=KEPT)
    except redis.RedisError:
        return 0  # nobody could read it
    return 0


def last() -> Census | None:
    """The last count; None where there is none. Raises redis.RedisError."""
    text: Any = valkey().get(COUNTED)
    if text is None:
        return None
    counted = json.loads(text)
    now: Any = valkey().time()
    return Census(counted["registrations"], counted["devices"], max(0.0, float(now[0] - counted["at"])))


def _count() -> Census:
    slugs = dict(MobileApp.objects.values_list("pk", "slug"))
    registrations = {slug: dict.fromkeys(RegistrationState.values, 0) for slug in slugs.values()}
    for app, state, count in Registration.objects.order_by().values_list("app", "state").annotate(Count("pk")):
        registrations[slugs[app]][state] = count
    living = Device.objects.filter(retired_at__isnull=True).order_by().values_list("app").annotate(Count("pk"))
    devices = dict.fromkeys(slugs.values(), 0) | {slugs[app]: count for app, count in living}
    return Census(registrations, devices)
