"""Counting for the dashboard: the tables as a whole now and then, the history entry by entry.

A whole count takes seconds with millions of rows; workers make it, and the page reads a row for each app and day.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count
from django.db.models.functions import Now

from registry.models import DayFigures, Device, FiguresPosition, HistoryEntry, MobileApp, MobileUser
from registry.services import clock
from registry.services.recount import recount_after
from registry.states import HistoryKind

BATCH = 5000  # entries of the history
SETTLED = timedelta(seconds=20)  # what is younger may not have been committed yet, while what follows it has
BOUNDS = (1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)  # seconds
BEYOND = "more"
LIVING = "living"  # stands beside the states of registrations: how many devices there are

_NOT_MAPPED = """
SELECT u.app_id, count(*) FROM registry_dataversemapping m JOIN registry_mobileuser u ON u.id = m.user_id
WHERE m.state IN ('ambiguous', 'not_found') GROUP BY 1
UNION ALL
SELECT u.app_id, count(*) FROM registry_dataversemapping m JOIN registry_mobileuser u ON u.id = m.user_id
WHERE m.state = 'pending' AND m.due_at IS NOT NULL GROUP BY 1
"""
_REGISTRATIONS = "SELECT app_id, platform, state, count(*) FROM registry_registration GROUP BY 1, 2, 3"
_REACHED = """
SELECT app_id, count(*) FROM (
    SELECT DISTINCT app_id, dataverse_id FROM registry_registration WHERE state = 'registered'
) found GROUP BY 1
"""
_OPENED = """
SELECT d.app_id, count(DISTINCT d.user_id) FROM (
    SELECT DISTINCT device_id FROM registry_interactionevent
    WHERE received_at >= now() - interval '7 days' AND device_id IS NOT NULL
) opened JOIN registry_device d ON d.id = opened.device_id GROUP BY 1
"""
# From the launch that last changed something; not of one that is confirmed again.
_WAITS = """
SELECT e.app_id, (e.at AT TIME ZONE 'UTC')::date, extract(epoch FROM e.at - began.at)
FROM registry_historyentry e CROSS JOIN LATERAL (
    SELECT max(h.at) AS at FROM registry_historyentry h
    WHERE h.device_id = e.device_id AND h.at BETWEEN e.at - interval '7 days' AND e.at AND h.kind IN (1, 2, 3, 7)
) began
WHERE e.id = ANY(%s) AND began.at IS NOT NULL AND NOT EXISTS (
    SELECT FROM registry_historyentry o
    WHERE o.device_id = e.device_id AND o.kind = 40 AND o.at >= began.at AND o.at < e.at
)
"""
_TELLING = (HistoryKind.CREATED, HistoryKind.TOKEN_CHANGED, HistoryKind.REGISTERED)


def add_up() -> int:
    """Add a batch of the history to the days; return how many entries. Called in a transaction."""
    position = _position()
    if position is None:
        return 0
    entries = HistoryEntry.objects.filter(pk__gt=position.position, at__lt=clock.now() - SETTLED).order_by("pk")
    batch = list(entries.values_list("pk", "at", "kind", "app_id")[:BATCH])
    if not batch:
        return 0
    counts: defaultdict[tuple[int, date], Counter[str]] = defaultdict(Counter)
    names = {HistoryKind.CREATED: "new_devices", HistoryKind.TOKEN_CHANGED: "token_changes"}
    for _, at, kind, app in batch:
        if app is not None and kind in names:
            counts[app, at.date()][names[HistoryKind(kind)]] += 1
    registered = [pk for pk, _, kind, app in batch if kind == HistoryKind.REGISTERED and app is not None]
    waits: defaultdict[tuple[int, date], Counter[str]] = defaultdict(Counter)
    for app, day, seconds in _rows(_WAITS, [registered]):
        waits[app, day][_bucket(float(seconds))] += 1
    living = set(MobileApp.objects.values_list("pk", flat=True))
    for app, day in counts.keys() | waits.keys():
        if app in living:
            _add(app, day, counts[app, day], waits[app, day])
    FiguresPosition.objects.filter(pk=position.pk).update(position=batch[-1][0], updated_at=Now())
    return len(batch)


def count_tables() -> int:
    """Count the tables where the last count is old enough; return how many apps. Called in a transaction."""
    position, now = _position(), clock.now()
    rests = recount_after(settings.TOKENHUB_FIGURES_PERIOD)
    if position is None or (position.counted_at and now - position.counted_at < rests):
        return 0
    apps = set(MobileApp.objects.filter(replaced_by=None).values_list("pk", flat=True))
    figures = {app: _fresh(app, now) for app in apps}
    living = Device.objects.filter(retired_at__isnull=True).order_by().values_list("app", "platform")
    by_platform = [(app, platform, LIVING, count) for app, platform, count in living.annotate(Count("pk"))]
    for name, rows in (
        ("users", MobileUser.objects.order_by().values_list("app").annotate(Count("pk"))),
        ("registered_users", _rows(_REACHED)),
        ("opened", _rows(_OPENED)),
    ):
        for app, count in rows:
            if app in apps:
                setattr(figures[app], name, count)
    missing: Counter[int] = Counter()
    for app, count in _rows(_NOT_MAPPED):
        missing[app] += count
    for app, platform, state, count in (*by_platform, *_rows(_REGISTRATIONS)):
        if app in apps:
            figures[app].registrations[f"{platform}:{state}"] = count
            figures[app].devices += count * (state == LIVING)
    for app, row in figures.items():
        row.mapped = max(0, row.users - missing[app])
    _keep(figures.values(), ("devices", "users", "mapped", "registered_users", "opened", "registrations", "counted_at"))
    FiguresPosition.objects.filter(pk=position.pk).update(counted_at=now)
    return len(figures)


def percentile(waits: dict[str, int], share: float) -> float | None:
    """How many seconds that share of them took at most, as far as the bounds tell; None where there are none."""
    total = sum(waits.values())
    if not total:
        return None
    below, lower = 0, 0.0
    for bound in BOUNDS:
        here = waits.get(str(bound), 0)
        if here and below + here >= share * total:
            return lower + (bound - lower) * (share * total - below) / here
        below, lower = below + here, float(bound)
    return lower


def _bucket(seconds: float) -> str:
    return next((str(bound) for bound in BOUNDS if seconds <= bound), BEYOND)


def _position() -> FiguresPosition | None:
    """The row, locked; None where another worker has it."""
    FiguresPosition.objects.get_or_create(pk=1)
    return FiguresPosition.objects.select_for_update(skip_locked=True).filter(pk=1).first()


def _fresh(app: int, now: datetime) -> DayFigures:
    return DayFigures(app_id=app, day=now.date(), counted_at=now, registrations={}, waits={})


def _add(app: int, day: date, counts: Counter[str], waits: Counter[str]) -> None:
    row, _ = DayFigures.objects.get_or_create(app_id=app, day=day)
    row.new_devices += counts["new_devices"]
    row.token_changes += counts["token_changes"]
    row.waits = dict(Counter(row.waits) + waits)
    row.save(update_fields=["new_devices", "token_changes", "waits"])


def _keep(rows: Any, fields: tuple[str, ...]) -> None:
    DayFigures.objects.bulk_create(rows, update_conflicts=True, update_fields=fields, unique_fields=["app", "day"])


def _rows(statement: str, values: list[Any] | None = None) -> Iterator[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        yield from cursor.fetchall()
