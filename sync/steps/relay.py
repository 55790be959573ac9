"""Relay: pass interaction events on to CI-J, one request an event, many at a time."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db.models import F

from registry.models import InteractionEvent, MobileApp
from registry.services import clock
from registry.states import EventState
from sync import connect, pauses
from sync.clients.calls import carrying
from sync.clients.cij import Connection, report_opened
from sync.clients.errors import Denied, NotMade, Refused, RemoteError, Throttled, Unavailable
from sync.policy import backoff

logger = logging.getLogger(__name__)

BATCH = 300
# Events refused with 401, 403 or 429 rest with the app's other calls; each is tried again and never given up here.
_CLAIM = """
WITH present AS MATERIALIZED (
    SELECT id FROM registry_mobileapp WHERE id = %(app)s AND connection_no = %(connection)s FOR SHARE SKIP LOCKED
)
UPDATE registry_interactionevent SET due_at = now() + %(lease)s, claim_no = claim_no + 1
WHERE id IN (
    SELECT e.id FROM registry_interactionevent e
    WHERE e.app_id = %(app)s AND EXISTS (SELECT FROM present) AND e.due_at <= now()
    ORDER BY e.due_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
RETURNING *
"""


def run_batch(app: MobileApp) -> int:
    """Relay a batch of the app's due events; return how many."""
    gate = pauses.gate(app, BATCH)
    ends = time.monotonic() + settings.TOKENHUB_LEASE.total_seconds() - connect.deadline()
    events = gate.claim(lambda limit: _claim(app, limit))
    if events is None:
        return 0
    outcomes = connect.http().run(_send_all(connect.connection(app), events, ends))
    _settle(events, outcomes)
    _heed(gate, outcomes)
    return len(events)


def _claim(app: MobileApp, limit: int) -> list[InteractionEvent]:
    parameters = {
        "app": app.pk,
        "connection": app.connection_no,
        "limit": limit,
        "lease": settings.TOKENHUB_LEASE,
    }
    return list(InteractionEvent.objects.raw(_CLAIM, parameters))


async def _send_all(
    connection: Connection, events: Sequence[InteractionEvent], ends: float
) -> list[RemoteError | None]:
    """Report all events, a bounded number at a time; return None for each accepted one, else what went wrong."""
    gate = asyncio.Semaphore(settings.TOKENHUB_EVENT_CONCURRENCY)
    blocked: list[RemoteError] = []

    async def send(event: InteractionEvent) -> RemoteError | None:
        async with gate:
            if blocked:
                return blocked[0]
            if time.monotonic() > ends or event.tracking_id is None:
                return NotMade("not sent in time")
            try:
                with carrying([event.asked_by]):
                    await report_opened(connect.http(), connection, event.tracking_id, event.token)
            except RemoteError as error:
                if isinstance(error, (Throttled, Denied)):
                    blocked.append(error)
                return error
            return None

    return await asyncio.gather(*(send(event) for event in events))


def _settle(events: Sequence[InteractionEvent], outcomes: Sequence[RemoteError | None]) -> None:
    now = clock.now()
    relayed = [event for event, error in zip(events, outcomes, strict=True) if error is None]
    for event, error in zip(events, outcomes, strict=True):
        if error is None:
            continue
        ours = InteractionEvent.objects.filter(pk=event.pk, claim_no=event.claim_no)
        if isinstance(error, Refused):
            ours.update(state=EventState.FAILED, reason=str(error)[:64], due_at=None)
        else:
            wait = backoff(event.attempts) if not isinstance(error, Throttled) else timedelta(seconds=1)
            ours.update(attempts=F("attempts") + 1, due_at=now + wait)
    # An accepted event is relayed even where the lease was lost meanwhile: CI-J has it.
    InteractionEvent.objects.filter(pk__in=[event.pk for event in relayed]).update(
        state=EventState.RELAYED, relayed_at=now, due_at=None, reason=""
    )


def _heed(gate: pauses.Gate, outcomes: Sequence[RemoteError | None]) -> None:
    """Tell the gate how it went: throttled or denied stops all, silence counts only where nothing passed."""
    errors = [error for error in outcomes if error is not None]
    if errors:
        logger.warning("%s: %d of %d events not relayed: %s", gate.subject, len(errors), len(outcomes), errors[0])
    stop: RemoteError | None = next((error for error in errors if isinstance(error, (Throttled, Denied))), None)
    if stop is None and all(isinstance(error, Unavailable) for error in outcomes):
        stop = next((error for error in errors if not isinstance(error, NotMade)), errors[0])
    if stop is not None:
        gate.heed(stop)
    elif None in outcomes and (gate.noted is None or gate.noted.reason not in pauses.FOR_CREDENTIALS):
        gate.heed(None)  # events carry no ApiToken: their success says nothing about it
