"""Relay: pass interaction events on to CI-J, one request an event, many at a time.

At least once: whether CI-J has what a killed worker had in the air is not known, so it is sent again. What was answered
before is settled every CHUNK. In normal running each is sent once: before every send the lease is looked at, and it
outlasts the call.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from registry.models import InteractionEvent, MobileApp
from registry.services import bulk, clock, event_counts
from registry.services.counters import RELAYS, Histogram
from registry.services.dead_letters import why
from registry.services.locking import in_transaction
from registry.states import EventState
from sync import connect, pauses
from sync.clients.cij import Opened, report_all_opened
from sync.clients.errors import Denied, NotMade, Refused, RemoteError, Throttled, Unavailable
from sync.policy import backoff

SECONDS = Histogram("tokenhub_event_relay_seconds", "From an event's acceptance until CI-J took it.", RELAYS, ["app"])

logger = logging.getLogger(__name__)

_DUE = """
WITH present AS MATERIALIZED (
    SELECT id FROM registry_mobileapp WHERE id = %(app)s AND connection_no = %(connection)s FOR SHARE SKIP LOCKED
)
SELECT e.id, e.app_id, e.received_at, e.occurred_at, e.tracking_id, e.token, e.asked_by, e.claim_no, e.attempts
FROM registry_interactionevent e
WHERE e.app_id = %(app)s AND EXISTS (SELECT FROM present) AND e.due_at <= now()
ORDER BY e.due_at LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

# What settling reads of an event again.
_SETTLED = (
    "app_id",
    "tracking_id",
    "occurred_at",
    "received_at",
    "replayed_at",
    "state",
    "reason",
    "attempts",
    "claim_no",
)

CHUNK = 100  # events that are settled at once
PATIENCE = 0.2  # seconds that an answer waits for others to be settled with

type _Outcome = tuple[InteractionEvent, RemoteError | None]
# State, reason, attempts and delay; None: it rests.
type _Verdict = tuple[EventState, str, int, timedelta | None]


def run_batch(app: MobileApp) -> int:
    """Relay a batch of the app's due events; return how many."""
    # The token bucket is for registrations: a backlog of these must not delay what a journey waits for.
    gate = pauses.gate(app, settings.TOKENHUB_EVENT_BATCH, may_overdraw=lambda: True)
    ends = time.monotonic() + settings.TOKENHUB_LEASE.total_seconds() - connect.deadline()
    events = gate.claim(lambda limit: in_transaction(partial(_claim, app, limit)))
    if events is None:
        return 0
    errors: list[RemoteError] = []
    for outcomes in _send(app, events, ends):
        in_transaction(partial(_settle, app, outcomes))
        errors += [error for _, error in outcomes if error is not None]
    _heed(gate, len(events), errors)
    return len(events)


def _send(app: MobileApp, events: Sequence[InteractionEvent], ends: float) -> Iterator[list[_Outcome]]:
    """Send them all; yield outcomes by the CHUNK, and what there is after PATIENCE, while others are in the air."""
    told: deque[_Outcome] = deque()
    enough = threading.Event()  # this thread is not woken for each of them, which would slow the sending down

    def tell(number: int, error: RemoteError | None) -> None:
        told.append((events[number], error))
        if len(told) >= CHUNK:
            enough.set()

    sending = connect.http().start(
        report_all_opened(
            connect.http(),
            connect.connection(app),
            [Opened(str(event.tracking_id), event.token, event.asked_by) for event in events],
            tell,
            at_once=settings.TOKENHUB_EVENT_CONCURRENCY,
            ends=ends,
        )
    )
    sending.add_done_callback(lambda _: enough.set())
    left = len(events)
    while left:
        enough.wait(PATIENCE)
        enough.clear()
        over = sending.done()
        chunk = [told.popleft() for _ in range(len(told))]
        left -= len(chunk)
        if chunk:
            yield chunk
        elif over:
            sending.result()  # it ended before its end: say why


def _claim(app: MobileApp, limit: int) -> list[InteractionEvent]:
    """Take up to `limit` due events, for the time of a lease."""
    with connection.cursor() as cursor:
        # By the index, in its order, whatever the statistics say of a partition that has just begun.
        cursor.execute("SET LOCAL enable_sort = off")
    parameters = {"app": app.pk, "connection": app.connection_no, "limit": limit}
    events = InteractionEvent.run(_DUE, parameters)
    if events:
        _rows(events).update(due_at=Now() + settings.TOKENHUB_LEASE, claim_no=F("claim_no") + 1)
        for event in events:
            event.claim_no += 1
    return events


def _rows(events: Sequence[InteractionEvent]) -> QuerySet[InteractionEvent]:
    """These rows, looked for in their partitions only."""
    times = [event.received_at for event in events]
    return InteractionEvent.objects.filter(
        bulk.among("pk", [event.id for event in events]), received_at__gte=min(times), received_at__lte=max(times)
    )


def _settle(app: MobileApp, outcomes: Sequence[_Outcome]) -> None:
    """Write down what became of each event, a statement for each way that it went."""
    current = _rows([event for event, _ in outcomes]).select_for_update().order_by("pk").only(*_SETTLED)
    before = {row.id: row for row in current}
    now = clock.now()
    relayed: list[InteractionEvent] = []
    alike: dict[tuple[object, ...], _Verdict] = {}  # delays have jitter: one for all that are alike
    failed: dict[_Verdict, list[InteractionEvent]] = {}
    for event, error in outcomes:
        row = before.get(event.id)
        if row is None:
            continue  # its user was erased meanwhile
        if error is None:
            # Also where the lease was lost, or it was given up meanwhile: CI-J has it.
            relayed += [row] if row.state != EventState.RELAYED else []
        elif row.claim_no == event.claim_no:
            overdue = (row.replayed_at or row.received_at) < now - settings.TOKENHUB_EVENT_GIVE_UP
            same = alike.setdefault((type(error), str(error), row.attempts, overdue), _verdict(error, row, overdue))
            failed.setdefault(same, []).append(row)
    if relayed:
        event_counts.relayed(relayed)
        _rows(relayed).update(state=EventState.RELAYED, relayed_at=now, due_at=None, reason="")
        for row in relayed:
            SECONDS.observe((now - (row.replayed_at or row.received_at)).total_seconds(), str(app))
    for (state, reason, attempts, wait), rows in failed.items():
        _rows(rows).update(state=state, reason=reason, attempts=attempts, due_at=None if wait is None else now + wait)
        if state == EventState.FAILED:
            event_counts.count((row, "failed", 1) for row in rows)
            logger.warning("%s: %d events are dead letters: %s", app, len(rows), reason)


def _verdict(error: RemoteError, event: InteractionEvent, overdue: bool) -> _Verdict:
    """State, reason, attempts and delay of an event that was not accepted."""
    reason, attempts = str(error)[:64], event.attempts + 1
    if isinstance(error, NotMade):
        reason, attempts = event.reason, event.attempts
    if isinstance(error, Refused):
        return EventState.FAILED, reason, attempts, None
    if overdue:
        return EventState.FAILED, why(reason), attempts, None
    if isinstance(error, NotMade):
        return EventState.READY, reason, attempts, timedelta(0)
    if isinstance(error, Throttled):  # its app rests
        return EventState.READY, reason, attempts, timedelta(seconds=1)
    return EventState.READY, reason, attempts, backoff(event.attempts)


def _heed(gate: pauses.Gate, sent: int, errors: Sequence[RemoteError]) -> None:
    """Tell the gate how it went: throttled or denied stops all, silence counts only where nothing passed."""
    if errors:
        logger.warning("%s: %d of %d events not relayed: %s", gate.subject, len(errors), sent, errors[0])
    stop: RemoteError | None = next((error for error in errors if isinstance(error, (Throttled, Denied))), None)
    if stop is None and sent == sum(isinstance(error, Unavailable) for error in errors):
        stop = next((error for error in errors if not isinstance(error, NotMade)), errors[0])
    if stop is not None:
        gate.heed(stop)
    elif len(errors) < sent and (gate.noted is None or gate.noted.reason not in pauses.FOR_CREDENTIALS):
        gate.heed(None)  # events carry no ApiToken: their success says nothing about it
