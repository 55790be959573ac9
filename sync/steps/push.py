"""Push: send desired registrations to CI-J, in tracked batches.

1. claim a batch and commit: from then on CI-J may hold its triples;
2. send it; where CI-J refuses a batch (400), ask whether the app's configuration is at fault, and if not split the
   batch until the poison items stand alone, so that one bad token never blocks the others;
3. settle what is decided; what got no answer, or was not taken, is sent again later.
"""

import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime

from django.conf import settings

from registry.models import MobileApp, Registration
from registry.states import Step
from sync import connect, pauses, transitions, waves
from sync.clients.callbacks import Callback
from sync.clients.calls import carrying
from sync.clients.cij import MAX_BATCH, CijClient, Pair
from sync.clients.errors import NotMade, Refused, RemoteError
from sync.outbox import Change, Lease, claim, settle
from sync.policy import Reason, decide

logger = logging.getLogger(__name__)

# What is decided of each registration, by its id: CI-J's request id, or its refusal.
Decided = dict[int, uuid.UUID | Refused]


def run_batch(app: MobileApp) -> int:
    """Send a batch of the app's due registrations; return how many."""
    gate = pauses.gate(app, MAX_BATCH)
    platforms, most = waves.lane(app, gate.limit)
    lease = gate.claim(lambda limit: claim(app, Step.PUSH, min(limit, most), platforms))
    if lease is None:
        return 0
    decided: Decided = {}
    perhaps: set[int] = set()  # those that CI-J may have taken without saying so
    batch_id = uuid.uuid4()
    client = connect.cij(app)
    error = attempt(lambda: _send(client, lease, connect.callback(batch_id), lease.rows, decided, perhaps))
    if error is not None and error.may_have_acted:
        perhaps.update(row.id for row in lease.rows)
    error = doubt(gate, lease, decided) or error or gate.prove(client)
    failure = str(error or "no request id came back")
    if error:
        logger.warning("%s: registering %d devices: %s", app, len(lease.rows) - len(decided), error)

    def change(row: Registration, now: datetime) -> Change:
        outcome = decided.get(row.id)
        if isinstance(outcome, Refused):
            return transitions.refused(row, str(outcome), now)
        if outcome is not None:
            return transitions.accepted(row, outcome, now) | {"batch_id": batch_id}
        if row.id in perhaps:
            return transitions.unanswered(row, failure, now, settings.TOKENHUB_HANDOVER_PATIENCE)
        return transitions.not_taken(row, failure, now)

    # What is known is written down first: it must not be lost to whatever the gate does.
    settle(lease.rows, change)
    gate.heed(error)
    return len(lease.rows)


def attempt(calls: Callable[[], None]) -> RemoteError | None:
    """Make the calls of a batch; return what ended them early, or None."""
    try:
        calls()
    except RemoteError as error:
        return error
    return None


def doubt[T](
    gate: pauses.Gate, lease: Lease, decided: dict[int, T | Refused], *, probes_count: bool = False
) -> RemoteError | None:
    """Drop refusals that do not speak of their rows; return the error that they stand for where that is the app's.

    A refusal is believed where others of the same batch passed and it is in the minority. Where half fails, the
    app's configuration is at fault: fail nothing. A row that stands alone has nothing to be compared with: it is
    tried again some times first. `probes_count`: so is one that probes a pause.
    """
    refused = [key for key, outcome in decided.items() if isinstance(outcome, Refused)]
    if not refused or 2 * len(refused) < len(decided):
        return None
    alone, rests = len(lease.rows) == 1, gate.noted is not None
    if alone and (probes_count or not rests) and decide(Reason.REFUSED_ALONE, lease.rows[0].attempts).failure:
        return None
    for key in refused:
        del decided[key]
    return None if alone and not rests else Refused(f"{len(refused)} of {len(lease.rows)} refused")


def _send(
    client: CijClient,
    lease: Lease,
    callback: Callback | None,
    rows: Sequence[Registration],
    decided: Decided,
    perhaps: set[int],
) -> None:
    if not lease.lasts_for_a_call():
        raise NotMade("the lease ended before everything was sent")
    try:
        with carrying(row.asked_by for row in rows):
            request_ids = client.register([pair(row) for row in rows], callback)
    except Refused as refusal:
        if len(rows) == len(lease.rows):
            client.check()
        if len(rows) == 1:
            decided[rows[0].id] = refusal
            perhaps.discard(rows[0].id)
            return
        # Nobody has documented whether a batch that is refused for one item leaves the others alone.
        perhaps.update(row.id for row in rows)
        middle = len(rows) // 2
        _send(client, lease, callback, rows[:middle], decided, perhaps)
        _send(client, lease, callback, rows[middle:], decided, perhaps)
    else:
        for row, request_id in zip(rows, request_ids, strict=True):
            if request_id is None:
                perhaps.add(row.id)
            else:
                decided[row.id] = request_id


def pair(row: Registration) -> Pair:
    return Pair(row.dataverse_id, row.platform, row.token)
