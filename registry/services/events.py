"""Interaction events: kept first, relayed later."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from registry.crypto import sha256
from registry.models import Device, EventMark, InteractionEvent, MobileApp
from registry.ports import announce
from registry.services import correlation, event_counts
from registry.services.counters import Counter
from registry.services.installations import shows_secret
from registry.services.locking import in_transaction
from registry.states import EventState, NotRelayedReason

EVENTS = Counter("tokenhub_events_total", "Events that phones reported.", ["app", "result"])


@dataclass(frozen=True)
class ReportedEvent:
    """One validated report; the device is named by its installation id or by its token."""

    installation_id: str
    token: str
    tracking_id: uuid.UUID | None
    status: str
    occurred_at: datetime | None
    message_id: str


class Kept(StrEnum):
    """What became of a report."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    UNPROVEN = "unproven"


def record_events(app: MobileApp, reports: Sequence[ReportedEvent], secret: str | None = None) -> list[Kept]:
    """Keep every report; return what became of each, in their order.

    Repeats (of one device the same message id, or the same tracking id and status) are kept once. `secret` is what the
    caller shows of its installation, None where it need not: what names a secured installation without it is UNPROVEN
    and not kept. Who names a device by its push token needs none: nobody else has that.
    """
    devices = _devices_of(app, reports)
    kept = [Kept.UNPROVEN] * len(reports)
    rows: dict[int, InteractionEvent] = {}
    for number, report in enumerate(reports):
        device = devices.get(_name(report))
        if device is not None and report.installation_id and not _is_proven(device, secret):
            continue
        rows[number] = _row(app, report, device)
    new = in_transaction(lambda: _insert(reports, rows))
    announce(["relay"] if any(rows[number].due_at for number in new) else [])
    for number, row in rows.items():
        kept[number] = Kept.ACCEPTED if number in new else Kept.DUPLICATE
        EVENTS.add(app.slug, (row.reason or kept[number].value) if number in new else Kept.DUPLICATE.value)
    return kept


def _insert(reports: Sequence[ReportedEvent], rows: dict[int, InteractionEvent]) -> set[int]:
    """Insert what is no repeat, all in one statement; return the numbers of these.

    1. The devices are kept from being deleted, which no foreign key does here.
    2. Everybody's marks are inserted, in one order; who inserts one of them at the same time is waited for.
    3. One after the other: an event is new where all of its marks were. What a repeat had marked is taken back, since
       another event may come with it.
    """
    _keep_devices(rows.values())
    marks = {number: _marks(reports[number], row) for number, row in rows.items()}
    ours = _mark({mark for found in marks.values() for mark in found})
    taken: set[uuid.UUID] = set()
    new = set()
    for number, found in marks.items():
        if found <= ours - taken:
            new.add(number)
            taken |= found
    if ours - taken:
        EventMark.objects.filter(mark__in=ours - taken).delete()
    inserted = [rows[number] for number in sorted(new)]
    InteractionEvent.objects.bulk_create(inserted)
    event_counts.accepted(inserted)
    return new


def _keep_devices(rows: Iterable[InteractionEvent]) -> None:
    """Keep the rows' devices until the transaction ends; one that was deleted meanwhile is not known any more."""
    known = sorted({row.device_id for row in rows if row.device_id})
    if not known:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM registry_device WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [known])
        present = {found for (found,) in cursor.fetchall()}
    for row in rows:
        if row.device_id and row.device_id not in present:
            row.device_id, row.token = None, ""
            row.state, row.reason, row.due_at = EventState.NOT_RELAYED, NotRelayedReason.UNKNOWN_DEVICE, None


def _marks(report: ReportedEvent, row: InteractionEvent) -> set[uuid.UUID]:
    """What a repeat of the event has in common with it. Once its device is known it is another event."""
    named = report.installation_id or report.token.lower()
    owner = str(row.device_id) if row.device_id else f"{row.app_id}-{sha256(named).hex()}"
    found = set()
    if row.message_id:
        found.add(f"{owner}:message:{row.message_id}")
    if row.tracking_id:
        found.add(f"{owner}:{row.status}:{row.tracking_id}")
    return {uuid.UUID(bytes=sha256(text)[:16]) for text in found}


def _mark(marks: set[uuid.UUID]) -> set[uuid.UUID]:
    """Insert those that are not there yet; return which these were."""
    if not marks:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO registry_eventmark (mark) SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING RETURNING mark",
            [sorted(marks)],
        )
        return {found for (found,) in cursor.fetchall()}


def _is_proven(device: Device, secret: str | None) -> bool:
    return secret is None or not device.secret_hash or shows_secret(device, secret)


def _row(app: MobileApp, report: ReportedEvent, device: Device | None) -> InteractionEvent:
    now = timezone.now()
    occurred_at = report.occurred_at or now
    reason = _not_relayed(app, report, device, too_old=now - occurred_at > settings.TOKENHUB_EVENT_MAX_AGE)
    return InteractionEvent(
        app=app,
        device=device,
        token=device.token if device else report.token,
        tracking_id=report.tracking_id,
        status=report.status,
        message_id=report.message_id,
        occurred_at=occurred_at,
        asked_by=correlation.current(),
        state=EventState.NOT_RELAYED if reason else EventState.READY,
        reason=reason or "",
        due_at=None if reason else Now(),
    )


def _name(report: ReportedEvent) -> tuple[str, str]:
    """What the report names its device by; APNs tokens are kept in lower case, and the platform is not known here."""
    return ("installation", report.installation_id) if report.installation_id else ("token", report.token.lower())


def _devices_of(app: MobileApp, reports: Sequence[ReportedEvent]) -> dict[tuple[str, str], Device]:
    """The devices that the reports name, by what they were named by."""
    tokens = {report.token for report in reports if not report.installation_id}
    hashes = [sha256(spelling) for token in tokens for spelling in {token, token.lower()}]
    installations = {report.installation_id for report in reports if report.installation_id}
    found = Device.objects.select_related("user").filter(
        Q(installation_id__in=installations) | Q(token_hash__in=hashes), app=app
    )
    devices: dict[tuple[str, str], Device] = {}
    # Retired holders of a token first, so that a living one overwrites them.
    for device in sorted(found, key=lambda device: device.retired_at is None):
        devices["installation", device.installation_id] = device
        devices["token", device.token.lower()] = device
    return devices


def _not_relayed(
    app: MobileApp, report: ReportedEvent, device: Device | None, *, too_old: bool
) -> NotRelayedReason | None:
    """Why an event is not relayed, or None."""
    if report.tracking_id is None:
        return NotRelayedReason.TEST_SEND
    if device is None:
        return NotRelayedReason.UNKNOWN_DEVICE
    if too_old:
        return NotRelayedReason.TOO_OLD
    consent = device.user.tracking_consent if device.user else app.default_tracking_consent
    return None if consent else NotRelayedReason.NO_CONSENT
