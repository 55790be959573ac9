"""Census: each app's registrations by state, active devices and open events, and how large partitions are.

Counting millions of rows takes seconds, so it is done now and then, by the indexes alone, and whoever wants to know
reads the last count from Valkey.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict

import redis
from django.conf import settings
from django.db.models import Count

from registry.models import Device, InteractionEvent, MobileApp, Registration
from registry.services import clock, partitions
from registry.services.valkey import understood, valkey
from registry.states import EventState, RegistrationState

COUNTED, RESTS = "tokenhub:census", "tokenhub:census:rests"
KEPT = 24 * 3600  # seconds
OPEN_EVENTS = (EventState.READY.value, EventState.FAILED.value)  # few; nobody counts the hundred millions


class PartitionSizes(TypedDict):
    """A partitioned table: its partitions, the oldest one's age in seconds, and how much they hold."""

    count: int
    age: float
    bytes: int
    rows: int


@dataclass(frozen=True)
class Census:
    """The counts, by the apps' slugs; `age` in seconds."""

    registrations: dict[str, dict[str, int]]
    devices: dict[str, int]
    events: dict[str, dict[str, int]] = field(default_factory=dict)
    partitions: dict[str, PartitionSizes] = field(default_factory=dict)
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
    return understood(Census, {**counted, "age": max(0.0, float(now[0] - counted["at"]))})


def _count() -> Census:
    slugs = dict(MobileApp.objects.values_list("pk", "slug"))
    registrations = {slug: dict.fromkeys(RegistrationState.values, 0) for slug in slugs.values()}
    for app, state, count in Registration.objects.order_by().values_list("app", "state").annotate(Count("pk")):
        registrations[slugs[app]][state] = count
    living = Device.objects.filter(retired_at__isnull=True).order_by().values_list("app").annotate(Count("pk"))
    devices = dict.fromkeys(slugs.values(), 0) | {slugs[app]: count for app, count in living}
    events = {slug: dict.fromkeys(OPEN_EVENTS, 0) for slug in slugs.values()}
    held = InteractionEvent.objects.filter(app__in=slugs, state__in=OPEN_EVENTS)
    for app, state, count in held.order_by().values_list("app", "state").annotate(Count("pk")):
        if app in slugs:
            events[slugs[app]][state] = count
    return Census(registrations, devices, events, {table.table: _sizes(table) for table in partitions.tables()})


def _sizes(table: partitions.Partitioned) -> PartitionSizes:
    found = partitions.partitions(table)
    begun = [partition.start for partition in found if partition.start is not None and partition.rows]
    now = clock.now()
    return {
        "count": len(found),
        "age": max((now - start).total_seconds() for start in begun) if begun else 0.0,
        "bytes": sum(partition.size for partition in found),
        "rows": sum(max(0, partition.rows) for partition in found),
    }
