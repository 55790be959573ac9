"""The timeline: reading it, saying who decides, and erasing it. Writing is the database's own (HistoryEntry)."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Q

from registry.models import Device, HistoryEntry, InteractionEvent, MobileApp, MobileUser, Registration
from registry.services.narration import Moment, moment, reported, undecided
from registry.states import HistoryKind, PauseReason

MOST = 100  # lines at once


def acting(by: str) -> None:
    """Have what the current transaction changes carry that person's name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('tokenhub.by', %s, true)", [by[:150]])


@dataclass(frozen=True)
class Timeline:
    """Some lines, the newest first, and the time before which there are more; None where these are the oldest."""

    lines: Sequence[Moment]
    earlier: datetime | None


def timeline(
    app: MobileApp, devices: Sequence[Device], user: MobileUser | None, before: datetime | None = None
) -> Timeline:
    """What happened to these devices of the app and to the user, what CI-J was told of them and what rested meanwhile:
    the newest about MOST lines, or those from before that time."""
    entries, events = _entries(devices, user, before), _events(devices, before)
    lines = [
        *_told(entries, _users(entries), _records(entries)),
        *(line for event in events if (line := reported(event))),
        *(line for line in _undecided(devices) if before is None or line.at < before),
        *(moment(row) for row in _pauses(app, before)),
    ]
    lines.sort(key=lambda line: line.at, reverse=True)
    cuts = [at for at in (_cut(entries, "at"), _cut(events, "received_at")) if at]
    if not cuts:
        return Timeline(lines, None)
    # Of what is as old as the last one read, some may not have been read: all of it is on the next page.
    shown = [line for line in lines if line.at > max(cuts)] or lines
    return Timeline(shown, shown[-1].at)


def of_user(user: MobileUser, devices: Collection[Device]) -> Iterator[dict[str, Any]]:
    """All that is kept of the user and of their present devices, for whoever has to tell them."""
    rows = HistoryEntry.objects.filter(Q(user=user) | Q(device__in=devices) & Q(user=None)).order_by("at", "pk")
    for row in rows:
        yield {"at": row.at, "what": moment(row, user.external_id).what, "token_end": row.token_end}


def erase(devices: Collection[Device], user: int | None = None) -> None:
    """Delete all that is told of the user, and of devices that are theirs."""
    HistoryEntry.objects.filter(Q(device__in=devices) | Q(user=user, user__isnull=False)).delete()


def _entries(devices: Sequence[Device], user: MobileUser | None, before: datetime | None) -> list[HistoryEntry]:
    """The newest of the devices and of the user. Each is asked for alone, so that both go by their index."""
    rows: dict[int, HistoryEntry] = {}
    for which in ([Q(device__in=devices)] if devices else []) + ([Q(user=user)] if user else []):
        found = HistoryEntry.objects.filter(which, _older("at", before)).order_by("-at", "-pk")[:MOST]
        rows |= {row.pk: row for row in found}
    return sorted(rows.values(), key=lambda row: (row.at, row.pk), reverse=True)[:MOST]


def _events(devices: Sequence[Device], before: datetime | None) -> list[InteractionEvent]:
    found = InteractionEvent.objects.filter(_older("received_at", before), device__in=devices)
    return list(found.order_by("-received_at", "-pk")[:MOST]) if devices else []


def _undecided(devices: Sequence[Device]) -> Iterator[Moment]:
    """What CI-J was told and has not decided: the rows say it."""
    there = Q(request_id__isnull=False) | Q(in_flight=True)
    for row in Registration.objects.filter(there, device__in=devices)[:MOST]:
        if line := undecided(row, _record(row.table, row.dataverse_id)):
            yield line


def _older(column: str, than: datetime | None) -> Q:
    return Q(**{f"{column}__lt": than}) if than else Q()


def _cut(rows: Sequence[Any], column: str) -> datetime | None:
    """When the last of these was, where there may be more than these."""
    return getattr(rows[-1], column) if len(rows) == MOST else None


def _pauses(app: MobileApp, before: datetime | None) -> Iterator[HistoryEntry]:
    """Pauses of the app or its environment that have ended, but for failures that were only counted."""
    ended = HistoryEntry.objects.filter(_older("at", before), kind=HistoryKind.PAUSE_ENDED, device=None, user=None)
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
    return {pk: _record(table, record) for pk, table, record in found}


def _record(table: str, record: Any) -> str:
    return f"{table or 'record'} {str(record)[:8]}"


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
            line = Moment(line.at, line.tone, f"Changed hands: {left[key]} → {name}.", line.device)
        yield line
