"""How the queues stand: for `manage.py sync_status`, and whoever asks at 3 a.m."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Q, QuerySet

from registry.models import DataverseMapping, Device, InteractionEvent, MobileApp, Pause, Registration
from registry.services import clock
from registry.services.connections import left_under
from registry.services.pausing import all_open_pauses, next_probe
from registry.states import EventState, MappingState, RegistrationState, Step

SOME = 1000


@dataclass(frozen=True)
class Replacement:
    """How far a replaced connection is retired. `over_at`: since when nothing is left."""

    by: str
    replaced_at: datetime | None
    registrations_left: int
    events_left: int
    over_at: datetime | None
    written_off: int
    note: str


@dataclass(frozen=True)
class AppStatus:
    """One app's queues. Ages are in seconds; None where nothing waits."""

    app: str
    devices: int
    shared_installations: int
    mappings: dict[str, int]
    registrations: dict[str, int]
    events: dict[str, int]
    oldest_due: dict[str, float | None]
    pauses: list[dict[str, str | None]]
    replaced: Replacement | None


def app_status(app: MobileApp) -> AppStatus:
    """The app's queues as they stand now."""
    now = clock.now()
    registrations = Registration.objects.filter(app=app)
    mappings = DataverseMapping.objects.filter(user__app=app)
    events = InteractionEvent.objects.filter(app=app)
    return AppStatus(
        app=app.slug,
        devices=Device.objects.filter(app=app, retired_at__isnull=True).count(),
        shared_installations=Device.objects.filter(app=app, shared_since__isnull=False).count(),
        mappings=_counts(mappings, MappingState.values),
        registrations=_counts(registrations, RegistrationState.values),
        events=_counts(events, EventState.values),
        oldest_due=oldest_due(app, now),
        pauses=[_pause(pause) for pause in open_pauses(app)],
        replaced=_replacement(app),
    )


def _replacement(app: MobileApp) -> Replacement | None:
    if app.replaced_by is None:
        return None
    left = left_under(app)
    return Replacement(app.replaced_by.slug, app.replaced_at, *left, app.over_at, app.written_off, app.note)


def oldest_due(app: MobileApp, now: datetime) -> dict[str, float | None]:
    """How long the oldest of what is due waits, in seconds, by step; None where nothing is due."""
    registrations = Registration.objects.filter(app=app)
    oldest = {"plan": _oldest_change(app, now), "map": _oldest(DataverseMapping.objects.filter(user__app=app), now)}
    for step in Step:
        ages = [_oldest(registrations.filter(step=step, urgent=urgent), now) for urgent in (True, False)]
        oldest[step.value] = max((age for age in ages if age is not None), default=None)
    oldest["relay"] = _oldest(InteractionEvent.objects.filter(app=app), now)
    return oldest


def _oldest_change(app: MobileApp, now: datetime) -> float | None:
    """Of the devices that are to be planned, or of the first thousand where many are."""
    changed = Device.objects.filter(app=app, revision__gt=F("planned_revision")).order_by("pk")
    times = changed.values_list("changed_at", flat=True)
    waiting = [*times.filter(planned_revision__gt=0)[:SOME], *times.filter(planned_revision=0)[:SOME]]
    known = [at for at in waiting if at is not None]
    return round((now - min(known)).total_seconds(), 1) if known else None


def _counts(
    rows: QuerySet[DataverseMapping] | QuerySet[Registration] | QuerySet[InteractionEvent], states: list[str]
) -> dict[str, int]:
    found = dict(rows.order_by().values_list("state").annotate(Count("pk")))
    return {state: found.get(state, 0) for state in states}


def _oldest(
    queue: QuerySet[DataverseMapping] | QuerySet[Registration] | QuerySet[InteractionEvent], now: datetime
) -> float | None:
    # The first of an index: MIN reads all that is due where tables are joined, and millions may wait.
    due = queue.filter(due_at__lte=now).order_by("due_at").values_list("due_at", flat=True).first()
    return None if due is None else round((now - due).total_seconds(), 1)


def open_pauses(app: MobileApp) -> QuerySet[Pause]:
    """What rests of the app or its environment."""
    return all_open_pauses().filter(Q(app=app) | Q(environment=app.dataverse_id))


def subject_of(pause: Pause) -> str:
    """What rests."""
    return f"app {pause.app}" if pause.app else f"Dataverse environment {pause.environment}"


def _pause(pause: Pause) -> dict[str, str | None]:
    probe = next_probe(pause)
    return {
        "subject": subject_of(pause),
        "platform": pause.platform,
        "reason": pause.get_reason_display(),
        "detail": pause.detail,
        "since": pause.created_at.isoformat(timespec="seconds"),
        "next_probe": probe.isoformat(timespec="seconds") if probe else None,
    }
