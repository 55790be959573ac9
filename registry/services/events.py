"""Interaction events: kept first, relayed later."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from registry.crypto import sha256
from registry.models import Device, InteractionEvent, MobileApp
from registry.ports import announce
from registry.services.installations import shows_secret
from registry.services.locking import in_transaction
from registry.states import EventState, NotRelayedReason


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
    kept: list[Kept | None] = [None] * len(reports)
    rows: dict[int, InteractionEvent] = {}
    for number, report in enumerate(reports):
        device = devices.get(_name(report))
        if device is not None and report.installation_id and not _is_proven(device, secret):
            kept[number] = Kept.UNPROVEN
        else:
            rows[number] = _row(app, report, device)
    known = _known(list(rows.values()))
    new = []
    for number, row in rows.items():
        marks = _marks(row)
        kept[number] = Kept.DUPLICATE if marks & known else Kept.ACCEPTED
        if not marks & known:
            new.append(row)
        known |= marks
    # In one order, so that parallel posts of the same events wait for each other instead of deadlocking.
    new.sort(key=lambda row: (row.device_id or 0, row.message_id, str(row.tracking_id)))
    in_transaction(lambda: InteractionEvent.objects.bulk_create(new, ignore_conflicts=True))
    announce(["relay"] if any(row.due_at for row in new) else [])
    return [result or Kept.ACCEPTED for result in kept]


type _Mark = tuple[int, str, str]


def _marks(row: InteractionEvent) -> set[_Mark]:
    """What a repeat of the event has in common with it. One of an unknown device goes nowhere, and may be repeated."""
    if row.device_id is None:
        return set()
    by_message = {(row.device_id, "message", row.message_id)} if row.message_id else set()
    by_tracking = {(row.device_id, row.status, str(row.tracking_id))} if row.tracking_id else set()
    return by_message | by_tracking


def _known(rows: Sequence[InteractionEvent]) -> set[_Mark]:
    """The marks of kept events that these may repeat."""
    among = Q(message_id__in={row.message_id for row in rows if row.message_id}) | Q(
        tracking_id__in={row.tracking_id for row in rows if row.tracking_id}
    )
    devices = {row.device_id for row in rows if row.device_id}
    if not devices:
        return set()
    return {mark for row in InteractionEvent.objects.filter(among, device__in=devices) for mark in _marks(row)}


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
