"""The admin's first page: a glance at how it goes, read from figures that workers keep. Nothing here counts a table."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Sum
from django.http import HttpRequest

from registry.models import DayFigures, EventCount, MobileApp
from registry.services import clock
from registry.services.access import scope_of, visible_apps
from registry.services.figures import LIVING, percentile
from registry.states import Platform, RegistrationState
from sync.alerts import open_alerts
from sync.status import oldest_due

DAYS = 30
# One colour for each state wherever it is drawn; sync's own stylesheet has them, by day and by night.
STATES = (
    (("registered",), "Registered", "good"),
    (("ready", "sent"), "On their way", "wait"),
    (("failed",), "Failed", "act"),
)
# Nobody is signed in on them, nobody in Dataverse is found or told apart, or the user opted out.
UNREGISTERED = ("Not to be registered", "muted")
STEPS = {"map": "look-ups", "push": "registrations", "confirm": "outcomes", "cleanup": "cleanups", "relay": "events"}


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What Unfold asks for before it draws the page."""
    if not request.user.has_perm("registry.view_device"):
        return context
    apps, scope = visible_apps(request.user), scope_of(request.user)
    chosen = [app for app in apps if app.slug == request.GET.get("app")] or apps
    today = clock.now().date()
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    found = DayFigures.objects.filter(app__in=[app.pk for app in chosen], day__gte=days[0]).order_by("day")
    rows = list(found)
    context["alerts"] = open_alerts(scope)
    context["dashboard"] = {
        "apps": apps,
        "every_app": scope.every,
        "chosen": chosen[0] if len(chosen) == 1 and len(apps) > 1 else None,
        **_glance(rows, today, chosen),
        **_charts(rows, days, _relayed(chosen, days[0])),
    }
    return context


def _relayed(apps: Sequence[MobileApp], since: date) -> dict[date, int]:
    """Events that CI-J has accepted, by the day on which they happened."""
    rows = EventCount.objects.filter(app__in=[app.pk for app in apps], day__gte=since).order_by()
    return dict(rows.values_list("day").annotate(Sum("relayed")))


def _glance(rows: Sequence[DayFigures], today: date, apps: Sequence[MobileApp]) -> dict[str, Any]:
    latest = _latest(rows)
    states = _states(latest)
    desired = states["registered"] + states["ready"] + states["sent"] + states["failed"]
    week = [row for row in rows if row.day > today - timedelta(days=7)]
    waits = sum((Counter(row.waits) for row in week), Counter())
    now, queues = clock.now(), []
    for app in apps:
        for step, age in oldest_due(app, now).items():
            if age is not None and step in STEPS:
                queues.append((age, app.slug, STEPS[step]))
    users = sum(row.users for row in latest)
    stages = (
        ("Users", users),
        ("Mapped to a record", sum(row.mapped for row in latest)),
        ("Registered", sum(row.registered_users for row in latest)),
        ("Opened a message in 7 days", sum(row.opened for row in latest)),
    )
    return {
        "counted_at": max((row.counted_at for row in latest if row.counted_at), default=None),
        "devices": sum(row.devices for row in latest),
        "registered": _share(states["registered"], desired),
        "failed": states["failed"],
        "median": _duration(percentile(waits, 0.5)),
        "slowest": _duration(percentile(waits, 0.95)),
        "oldest": _duration(max(queues)[0]) if queues else None,
        "queues": [(slug, what, _duration(age)) for age, slug, what in sorted(queues, reverse=True)[:6]],
        "funnel": [(name, count, _share(min(count, users), users)) for name, count in stages],
        "token_changes": sum(row.token_changes for row in rows if row.day == today),
    }


def _latest(rows: Sequence[DayFigures]) -> list[DayFigures]:
    """The last row that was counted, of each app."""
    return list({row.app_id: row for row in rows if row.counted_at}.values())


def _states(rows: Sequence[DayFigures]) -> Counter[str]:
    states: Counter[str] = Counter(dict.fromkeys(RegistrationState.values, 0))
    for row in rows:
        for name, count in row.registrations.items():
            states[name.partition(":")[2]] += count
    return states


def _charts(rows: Sequence[DayFigures], days: Sequence[date], relayed: Mapping[date, int]) -> dict[str, Any]:
    by_day = {day: [row for row in rows if row.day == day] for day in days}
    ratios, waits = [], {0.5: [], 0.95: []}  # type: ignore[var-annotated]
    for day in days:
        states = _states(by_day[day])
        desired = states["registered"] + states["ready"] + states["sent"] + states["failed"]
        ratios.append(_share(states["registered"], desired))
        taken = sum((Counter(row.waits) for row in by_day[day]), Counter())
        for share, line in waits.items():
            seconds = percentile(taken, share)
            line.append(None if seconds is None else round(seconds, 1))
    labels = [f"{day:%b} {day.day}" for day in days]
    latest = _latest(rows)
    return {
        "by_platform": _by_platform(latest),
        "ratio": _chart(labels, _line("Registered", ratios, "good", "%")),
        "waits": _chart(
            labels, _line("Half took up to", waits[0.5], "wait", "s"), _line("95 % up to", waits[0.95], "act", "s")
        ),
        "changes": _chart(labels, _bars("Token changes", [_sum(by_day[day], "token_changes") for day in days], "wait")),
        "events": _chart(labels, _bars("Events relayed", [relayed.get(day, 0) for day in days], "good")),
        "enough_days": sum(ratio is not None for ratio in ratios) > 1,
    }


def _by_platform(latest: Sequence[DayFigures]) -> str:
    datasets, left = [], [_of_platform(latest, platform, (LIVING,)) for platform in Platform.values]
    for states, label, tone in STATES:
        counts = [_of_platform(latest, platform, states) for platform in Platform.values]
        left = [max(0, before - count) for before, count in zip(left, counts, strict=True)]
        datasets.append(_bars(label, counts, tone))
    datasets.append(_bars(UNREGISTERED[0], left, UNREGISTERED[1]))
    return _chart(list(map(str, Platform.labels)), *({**bars, "stack": "all", "borderRadius": 0} for bars in datasets))


def _of_platform(rows: Sequence[DayFigures], platform: str, states: Sequence[str]) -> int:
    return sum(row.registrations.get(f"{platform}:{state}", 0) for row in rows for state in states)


def _sum(rows: Sequence[DayFigures], name: str) -> int:
    return sum(getattr(row, name) for row in rows)


def _chart(labels: Sequence[str], *datasets: dict[str, Any]) -> str:
    return json.dumps({"labels": labels, "datasets": datasets})


def _line(label: str, data: Sequence[float | None], tone: str, suffix: str) -> dict[str, Any]:
    colour = f"var(--th-{tone})"
    # A day alone has no line to either side: it gets a point.
    lone = all(before is None or after is None for before, after in pairwise(data))
    return {
        "label": label, "data": data, "borderColor": colour, "backgroundColor": colour, "borderWidth": 2,
        "suffixYAxis": suffix, "spanGaps": True, "cubicInterpolationMode": "monotone", "displayYAxis": True,
        "maxTicksXLimit": 7,
        **({"pointStyle": "circle", "pointRadius": 3} if lone else {}),
    }  # fmt: skip


def _bars(label: str, data: Sequence[int], tone: str) -> dict[str, Any]:
    return {"label": label, "data": data, "backgroundColor": f"var(--th-{tone})", "displayYAxis": True,
            "maxTicksXLimit": 7, "maxBarThickness": 48}  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    """Per cent."""
    return round(100 * part / whole, 1) if whole else None


def _duration(seconds: float | None) -> str | None:
    """As a person says it: 4 s, 3 min, 2 h, 5 days."""
    if seconds is None:
        return None
    for most, unit, name in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < most:
            return f"{seconds / unit:.0f} {name}" if seconds >= 10 or unit > 1 else f"{seconds:.1f} s"
    return f"{seconds / 86_400:.0f} days"
