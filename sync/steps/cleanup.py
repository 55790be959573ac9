"""Clean up: tell CI-J to forget what is no longer desired. Always per token.

1. retire what never left the house: nothing to tell;
2. finish the cleanups whose settling time is over: their tokens are free;
3. claim a batch, commit, send it, settle. CI-J's batch form has been documented with an array and with one object:
   where the array is refused, single calls are made, and the app remembers it.
"""

import logging
from datetime import datetime

from django.conf import settings
from django.db.models.functions import Now

from registry.models import MobileApp, Registration
from registry.services import clock
from registry.services.counters import WAITS, Histogram
from registry.services.locking import in_transaction
from registry.states import RegistrationState, Step
from sync import connect, pauses, transitions
from sync.clients.calls import carrying
from sync.clients.cij import MAX_BATCH, CijClient
from sync.clients.errors import NotMade, Refused
from sync.outbox import Change, Lease, claim, settle, write
from sync.steps.push import attempt, doubt, pair

HANDOVER = Histogram(
    "tokenhub_handover_seconds",
    "From the change that takes a token from a user to CI-J's acceptance of the cleanup.",
    WAITS,
    ["app"],
)

logger = logging.getLogger(__name__)

# By registration id: None where CI-J accepted the cleanup, its refusal otherwise. The others got no answer.
Decided = dict[int, Refused | None]


def run_batch(app: MobileApp) -> int:
    """Clean up a batch of the app's registrations; return how many rows moved."""
    moved = retire_unsent(app) + finish(app)
    gate = pauses.gate(app, MAX_BATCH, may_overdraw=lambda: is_urgent(app))
    lease = gate.claim(lambda limit: claim(app, Step.CLEANUP, limit))
    if lease is None:
        return moved
    decided: Decided = {}
    client = connect.cij(app)
    error = attempt(lambda: send(app, client, lease, decided))
    # Nobody is to be kept from a token for ever by its former owner's cleanup, though nothing else may pass the probe.
    error = doubt(gate, lease, decided, probes_count=True) or error or gate.prove(client)
    failure = str(error or "HTTP 400")
    if error:
        logger.warning("%s: cleaning up %d registrations: %s", app, len(lease.rows) - len(decided), error)

    def decide(row: Registration, now: datetime) -> Change:
        if row.pk not in decided:
            return transitions.try_again(row, failure, now)
        refusal = decided[row.pk]
        if refusal is not None:
            return transitions.cleanup_over(row, f"The cleanup was refused: {refusal}", now)
        return transitions.cleanup_accepted(row, now, settings.TOKENHUB_CLEANUP_SETTLING)

    for row in settle(lease.rows, decide):
        accepted = row.pk in decided and decided[row.pk] is None
        if accepted and row.cleaned_at and row.urgent and row.maybe_held and row.asked_at:
            HANDOVER.observe(max((row.cleaned_at - row.asked_at).total_seconds(), 0.0), app.slug)
    gate.heed(error)
    return moved + len(lease.rows)


def is_urgent(app: MobileApp) -> bool:
    """Whether a phone waits for a cleanup that would let somebody read another's messages until then."""
    urgent = Registration.objects.filter(app=app, step=Step.CLEANUP, urgent=True, due_at__lte=Now())
    return urgent.filter(cleaned_at__isnull=True).exists()


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
    return in_transaction(lambda: _finish(app))


def _finish(app: MobileApp) -> int:
    settled = Registration.objects.filter(
        app=app,
        step=Step.CLEANUP,
        due_at__lte=Now(),
        state=RegistrationState.RETIRING,
        cleaned_at__isnull=False,
    )
    rows = list(settled.select_for_update(skip_locked=True).order_by("pk")[: 10 * MAX_BATCH])
    now = clock.now()
    write([(row, transitions.settled(row, now)) for row in rows])
    return len(rows)


def send(app: MobileApp, client: CijClient, lease: Lease, decided: Decided) -> None:
    """Send the cleanups of the lease, noting in `decided` what CI-J says of each. Raises RemoteError."""
    if not app.batch_cleanup or len(lease.rows) == 1:
        _one_by_one(client, lease, decided)
        return
    if not lease.lasts_for_a_call():
        raise NotMade("the lease ended before it was sent")
    try:
        with carrying(row.asked_by for row in lease.rows):
            client.clean_up([pair(row) for row in lease.rows])
    except Refused:
        client.check()
        _one_by_one(client, lease, decided)
        if not any(decided.values()):  # every single call passed: it was the array that CI-J does not take
            MobileApp.objects.filter(pk=app.pk, connection_no=app.connection_no).update(batch_cleanup=False)
    else:
        decided.update(dict.fromkeys((row.pk for row in lease.rows), None))


def _one_by_one(client: CijClient, lease: Lease, decided: Decided) -> None:
    checked = False
    for row in lease.rows:
        if not lease.lasts_for_a_call():
            raise NotMade("the lease ended before everything was sent")
        try:
            with carrying([row.asked_by]):
                client.clean_up_one(pair(row))
        except Refused as refusal:
            if not checked:
                client.check()
                checked = True
            decided[row.pk] = refusal
        else:
            decided[row.pk] = None
