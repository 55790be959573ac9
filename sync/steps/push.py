"""Push: send desired registrations to CI-J, in tracked batches.

1. claim a batch and commit: from then on CI-J may hold its triples;
2. send it; where CI-J refuses a batch (400), ask whether the app's configuration is at fault, and if not split the
   batch until the poison items stand alone, so that one bad token never blocks the others;
3. settle what is decided; what got no answer is sent again later.
"""

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings

from registry.models import MobileApp, Registration
from registry.states import Step
from sync import connect, pauses, policy, waves
from sync.clients.callbacks import Callback
from sync.clients.cij import MAX_BATCH, CijClient, Pair
from sync.clients.errors import Refused, RemoteError
from sync.outbox import Change, Lease, claim, settle

logger = logging.getLogger(__name__)

# What is decided of each registration, by its id: CI-J's request id, or its refusal. The others got no answer.
Decided = dict[int, uuid.UUID | Refused]


def run_batch(app: MobileApp) -> int:
    """Send a batch of the app's due registrations; return how many."""
    gate = pauses.gate(app, MAX_BATCH)
    platforms, limit = waves.lane(app, gate.limit)
    lease = claim(app, Step.PUSH, limit, platforms)
    if not lease.rows:
        return 0
    decided: Decided = {}
    failure = "the lease ended before it was sent"
    batch_id = uuid.uuid4()
    try:
        send(connect.cij(app), lease, connect.callback(batch_id), decided)
        gate.passed()
    except RemoteError as error:
        failure = str(error)
        logger.warning("%s: registering %d devices: %s", app, len(lease.rows) - len(decided), error)
        gate.stopped(error)

    def decide(row: Registration, now: datetime) -> Change:
        outcome = decided.get(row.pk)
        if outcome is None:
            return policy.unanswered(row, failure, now, settings.TOKENHUB_HANDOVER_PATIENCE)
        if isinstance(outcome, Refused):
            return policy.refused(row, str(outcome), now)
        return policy.accepted(row, outcome, now) | {"batch_id": batch_id}

    settle(lease.rows, decide)
    return len(lease.rows)


def send(client: CijClient, lease: Lease, callback: Callback | None, decided: Decided) -> None:
    """Send all rows of the lease, noting in `decided` what CI-J says of each.

    Raises RemoteError where a call fails as a whole; Refused means that the app's configuration is at fault.
    """
    _send(client, lease, callback, lease.rows, decided)
    refusals = {key: outcome for key, outcome in decided.items() if isinstance(outcome, Refused)}
    if len(lease.rows) > 1 and 2 * len(refusals) >= len(lease.rows):
        for key in refusals:  # they say nothing about the tokens
            del decided[key]
        raise Refused(f"{len(refusals)} of {len(lease.rows)} registrations refused")


def _send(
    client: CijClient, lease: Lease, callback: Callback | None, rows: Sequence[Registration], decided: Decided
) -> None:
    if not lease.lasts_for_a_call():
        return
    try:
        request_ids = client.register([pair(row) for row in rows], callback)
    except Refused as refusal:
        if len(rows) == len(lease.rows):
            client.check()
        if len(rows) == 1:
            decided[rows[0].pk] = refusal
            return
        middle = len(rows) // 2
        _send(client, lease, callback, rows[:middle], decided)
        _send(client, lease, callback, rows[middle:], decided)
    else:
        decided.update(zip((row.pk for row in rows), request_ids, strict=True))


def pair(row: Registration) -> Pair:
    return Pair(row.dataverse_id, row.platform, row.token)
