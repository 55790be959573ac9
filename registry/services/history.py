"""The timeline: reading it, saying who decides, and erasing it. Writing is the database's own (HistoryEntry)."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet

from registry.models import Device, HistoryEntry, MobileApp, MobileUser, Registration
from registry.services.narration import Moment, moment
from registry.states import HistoryKind, PauseReason

MOST = 100  # lines at once


def acting(by: str) -> None:
    """Have what the current transaction changes carry that person's name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('tokenhub.by', %s, true)", [by[:150]])


def timeline(
    app: MobileApp, devices: Sequence[Device], user: MobileUser | None, before: datetime | None = None
) -> list[Moment]:
    """What happened to these devices of the app and to the user, and what rested meanwhile: the newest first, at most
    MOST lines, those from before that time."""
    until = Q(at__lt=before) if before else Q()
    rows: dict[int, HistoryEntry] = {}
    if devices:
        rows |= {row.pk: row for row in _newest(until & Q(device__in=devices))}
    if user is not None:
        rows |= {row.pk: row for row in _newest(until & Q(user=user))}
    found = sorted(rows.values(), key=lambda row: (row.at, row.pk), reverse=True)[:MOST]
    oldest = found[-1].at if len(found) == MOST else None
    rests = _pauses(app, until & (Q(at__gte=oldest) if oldest else Q()))
    users = _users(found)
    lines = [*_told(found, users, _records(found)), *(moment(row) for row in rests)]
    return sorted(lines, key=lambda line: line.at, reverse=True)


def of_user(user: MobileUser, devices: Collection[Device]) -> Iterator[dict[str, Any]]:
    """All that is kept of the user and of their present devices, for whoever has to tell them."""
    rows = HistoryEntry.objects.filter(Q(user=user) | Q(device__in=devices) & Q(user=None)).order_by("at", "pk")
    for row in rows:
        yield {"at": row.at, "what": moment(row, user.external_id).what, "token_end": row.token_end}


def erase(devices: Collection[Device], user: int | None = None) -> None:
    """Delete all that is told of the user, and of devices that are theirs."""
    HistoryEntry.objects.filter(Q(device__in=devices) | Q(user=user, user__isnull=False)).delete()


def _newest(which: Q) -> QuerySet[HistoryEntry]:
    return HistoryEntry.objects.filter(which).order_by("-at", "-pk")[:MOST]


def _pauses(app: MobileApp, when: Q) -> Iterator[HistoryEntry]:
    """Pauses of the app or its environment that have ended, but for failures that were only counted."""
    ended = HistoryEntry.objects.filter(when, kind=HistoryKind.PAUSE_ENDED, device=None, user=None)
    mine = ended.filter(Q(app=app) | Q(app=None, data__environment=app.dataverse_id))
    least = {
        PauseReason.UNAVAILABLE.value: settings.TOKENHUB_CIRCUIT_FAILURES,
        PauseReason.DRY_RUN.value: settings.TOKENHUB_DRY_RUN_WAVE,
    }
    for row in mine.order_by("-at")[:MOST]:
        data = row.data or {}
        if data.get("failures", 0) >= least.get(str(data.get("reason")), 0):
            yield row


def _users(rows: Iterable[HistoryEntry]) -> Mapping[int, str]:
    users = {row.user_id for row in rows if row.user_id is not None}
    return dict(MobileUser.objects.filter(pk__in=users).values_list("pk", "external_id"))


def _records(rows: Iterable[HistoryEntry]) -> Mapping[int, str]:
    """The Dataverse records of the entries' registrations, as far as those are still there."""
    ids = {row.registration_id for row in rows if row.registration_id is not None}
    found = Registration.objects.filter(pk__in=ids).values_list("pk", "table", "dataverse_id")
    return {pk: f"{table or 'record'} {str(record)[:8]}" for pk, table, record in found}


def _told(rows: Sequence[HistoryEntry], users: Mapping[int, str], records: Mapping[int, str]) -> Iterator[Moment]:
    """The lines of the entries, the newest first. Who signs out as somebody else signs in makes one line of both."""
    left = {
        (row.device_id, row.at): users.get(row.user_id or 0, "somebody")
        for row in rows
        if row.kind == HistoryKind.SIGNED_OUT
    }
    came = {(row.device_id, row.at) for row in rows if row.kind == HistoryKind.SIGNED_IN}
    for row in rows:
        key = (row.device_id, row.at)
        if row.kind == HistoryKind.SIGNED_OUT and key in came:
            continue
        name = users.get(row.user_id or 0, "somebody who was erased" if row.user_id else "")
        line = moment(row, name, records.get(row.registration_id or 0, ""))
        if row.kind == HistoryKind.SIGNED_IN and key in left:
            line = Moment(line.at, line.kind, line.tone, f"Changed hands: {left[key]} → {name}.", line.device)
        yield line
