"""What became of messages: opens of an app by day and by message, read from sums, never counted from the events."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, timedelta
from typing import Any

from django.db.models import Min, Sum

from registry.models import EventCount, MobileApp, RegisteredDevices
from registry.services import clock

MOST_MESSAGES = 1000
DAYS = 30
SUMS = ("opened", "relayed", "waiting", "failed", "discarded", "no_consent", "too_old", "unknown_device", "test_send")


@dataclass(frozen=True)
class _Sums:
    opened: int  # by known devices, whether relayed or not
    relayed: int
    waiting: int
    failed: int  # dead letters
    discarded: int
    no_consent: int
    too_old: int
    unknown_device: int
    test_send: int
    registered_devices: int | None  # of the day, or of the message's first; None where nobody counted them
    open_rate: float | None  # opened of registered_devices, 0 to 1 and more: an open may be of another day's message


@dataclass(frozen=True)
class Day(_Sums):
    """One day (UTC) of an app."""

    day: date


@dataclass(frozen=True)
class Message(_Sums):
    """One message: a tracking id."""

    tracking_id: str
    first_day: date


def period(since: date | None = None, until: date | None = None) -> tuple[date, date]:
    """The days asked for; left out: up to today, and DAYS of them."""
    until = until or clock.now().astimezone(UTC).date()
    return since or _before(until, DAYS - 1), until


def by_day(app: MobileApp, since: date, until: date) -> list[Day]:
    """Each day on which something happened, newest first."""
    rows = _rows(app, since, until).values("day").annotate(**_totals()).order_by("-day")
    registered = _registered(app, since, until)
    return [Day(day=row["day"], **_sums(row, registered.get(row["day"]))) for row in rows]


def by_message(app: MobileApp, since: date, until: date, most: int = MOST_MESSAGES) -> list[Message]:
    """The messages that were opened most in these days; test sends, which have no tracking id, are none."""
    rows = _rows(app, since, until).filter(tracking_id__isnull=False).values("tracking_id")
    found = rows.annotate(first_day=Min("day"), **_totals()).order_by("-opened_sum", "tracking_id")[:most]
    registered = _registered(app, since, until)
    return [
        Message(
            tracking_id=str(row["tracking_id"]),
            first_day=row["first_day"],
            **_sums(row, registered.get(row["first_day"])),
        )
        for row in found
    ]


def as_csv(kind: type[Day] | type[Message], lines: Sequence[Day | Message]) -> str:
    """The lines as a file, with a heading."""
    names = [field.name for field in fields(kind)]
    names = names[-(len(names) - len(fields(_Sums))) :] + names[: len(fields(_Sums))]
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(asdict(line) for line in lines)
    return text.getvalue()


def _before(day: date, days: int) -> date:
    return day - timedelta(days=min(days, (day - date.min).days))


def _rows(app: MobileApp, since: date, until: date) -> Any:
    return EventCount.objects.filter(app=app, day__gte=since, day__lte=until).order_by()


def _totals() -> dict[str, Sum]:
    return {f"{name}_sum": Sum(name) for name in SUMS}


def _registered(app: MobileApp, since: date, until: date) -> dict[date, int]:
    rows = RegisteredDevices.objects.filter(app=app, day__gte=since, day__lte=until)
    return dict(rows.values_list("day", "devices"))


def _sums(row: dict[str, Any], registered: int | None) -> dict[str, Any]:
    sums = {name: row[f"{name}_sum"] for name in SUMS}
    rate = round(sums["opened"] / registered, 4) if registered else None
    return {**sums, "registered_devices": registered, "open_rate": rate}
