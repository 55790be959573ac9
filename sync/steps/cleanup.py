"""Clean up: tell CI-J to forget what is no longer desired. Always per token.

1. retire what never left the house: nothing to tell;
2. finish the cleanups whose settling time is over: their tokens are free;
3. claim a batch, commit, send it, settle. CI-J's batch form has been documented with an array and with one object:
   where the array is refused, single calls are made, and the app remembers it.
"""

import logging
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from registry.models import MobileApp, Registration
from registry.states import RegistrationState, Step
from sync import connect, pauses, policy
from sync.clients.cij import MAX_BATCH, CijClient
from sync.clients.errors import Refused, RemoteError
from sync.outbox import Change, Lease, claim, settle, write
from sync.steps.push import pair

logger = logging.getLogger(__name__)

# By registration id: None where CI-J accepted the cleanup, its refusal otherwise. The others got no answer.
Decided = dict[int, Refused | None]


def run_batch(app: MobileApp) -> int:
    """Clean up a batch of the app's registrations; return how many rows moved."""
    moved = retire_unsent(app) + finish(app)
    gate = pauses.gate(app, MAX_BATCH)
    lease = claim(app, Step.CLEANUP, gate.limit)
    if not lease.rows:
        return moved
    decided: Decided = {}
    failure = "the lease ended before it was sent"
    try:
        send(app, connect.cij(app), lease, decided)
        gate.passed()
    except RemoteError as error:
        failure = str(error)
        logger.warning("%s: cleaning up %d registrations: %s", app, len(lease.rows) - len(decided), error)
        gate.stopped(error)

    def decide(row: Registration, now: datetime) -> Change:
        if row.pk not in decided:
            return policy.try_again(row, failure, now)
        refusal = decided[row.pk]
        if refusal is not None:
            return policy.cleanup_over(row, f"The cleanup was refused: {refusal}", now)
        return policy.cleanup_accepted(row, now, settings.TOKENHUB_CLEANUP_SETTLING)

    settle(lease.rows, decide)
    return moved + len(lease.rows)


def retire_unsent(app: MobileApp) -> int:
    """Retire what is no longer desired and never reached CI-J."""
    return Registration.objects.filter(
        app=app,
        step=Step.CLEANUP,
        due_at__lte=Now(),
        state__in=[RegistrationState.READY, RegistrationState.FAILED],
        maybe_held=False,
        recheck=False,
    ).update(state=RegistrationState.RETIRED, due_at=None, in_flight=False)


def finish(app: MobileApp) -> int:
    """Free the tokens whose cleanup has settled."""
    now = timezone.now()
    with transaction.atomic():
        rows = list(
            Registration.objects.select_for_update(skip_locked=True).filter(
                app=app,
                step=Step.CLEANUP,
                due_at__lte=Now(),
                state=RegistrationState.RETIRING,
                cleaned_at__isnull=False,
            )[: 10 * MAX_BATCH]
        )
        write([(row, policy.settled(row, now)) for row in rows])
    return len(rows)


def send(app: MobileApp, client: CijClient, lease: Lease, decided: Decided) -> None:
    """Send the cleanups of the lease, noting in `decided` what CI-J says of each. Raises RemoteError."""
    if not lease.lasts_for_a_call():
        return
    if app.batch_cleanup and len(lease.rows) > 1:
        try:
            client.clean_up([pair(row) for row in lease.rows])
        except Refused:
            client.check()
            _one_by_one(client, lease, decided)
            if not any(decided.values()):  # every single call passed: it was the array that CI-J does not take
                MobileApp.objects.filter(pk=app.pk).update(batch_cleanup=False)
        else:
            decided.update(dict.fromkeys((row.pk for row in lease.rows), None))
    else:
        _one_by_one(client, lease, decided)


def _one_by_one(client: CijClient, lease: Lease, decided: Decided) -> None:
    for row in lease.rows:
        if not lease.lasts_for_a_call():
            return
        try:
            client.clean_up_one(pair(row))
        except Refused as refusal:
            client.check()
            decided[row.pk] = refusal
        else:
            decided[row.pk] = None
