"""Interaction events: kept first, relayed later."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from registry.crypto import sha256
from registry.models import Device, InteractionEvent, MobileApp
from registry.ports import announce
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


def record_events(app: MobileApp, reports: Sequence[ReportedEvent]) -> None:
    """Keep every report; repeats (same message id, or same device, tracking id and status) are kept once."""
    devices = _devices_of(app, reports)
    now = timezone.now()
    rows = []
    for report in reports:
        device = devices.get(_name(report))
        reason = _not_relayed(app, report, device)
        rows.append(
            InteractionEvent(
                app=app,
                device=device,
                token=device.token if device else report.token,
                tracking_id=report.tracking_id,
                status=report.status,
                message_id=report.message_id,
                occurred_at=report.occurred_at or now,
                state=EventState.NOT_RELAYED if reason else EventState.READY,
                reason=reason or "",
                due_at=None if reason else Now(),
            )
        )
    # In one order, so that parallel posts of the same events wait for each other instead of deadlocking.
    rows.sort(key=lambda row: (row.message_id, row.device_id or 0, str(row.tracking_id)))
    in_transaction(lambda: InteractionEvent.objects.bulk_create(rows, ignore_conflicts=True))
    announce(["relay"] if any(row.due_at for row in rows) else [])


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


def _not_relayed(app: MobileApp, report: ReportedEvent, device: Device | None) -> NotRelayedReason | None:
    """Why an event is not relayed, or None."""
    if report.tracking_id is None:
        return NotRelayedReason.TEST_SEND
    if device is None:
        return NotRelayedReason.UNKNOWN_DEVICE
    consent = device.user.tracking_consent if device.user else app.default_tracking_consent
    return None if consent else NotRelayedReason.NO_CONSENT
