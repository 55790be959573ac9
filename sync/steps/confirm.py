"""Confirm: ask CI-J what became of the registrations that it accepted. Its answer is the truth, no callback is."""

import logging
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings

from registry.models import MobileApp, Registration
from registry.services.counters import WAITS, Histogram
from registry.services.locking import in_transaction
from registry.states import Step
from sync import connect, pauses, transitions, waves
from sync.clients.calls import carrying
from sync.clients.cij import MAX_BATCH, Outcome
from sync.clients.errors import Denied, NotMade
from sync.outbox import Change, claim, settle
from sync.policy import Reason, reason_of
from sync.steps.push import attempt

REGISTERED = Histogram(
    "tokenhub_registered_seconds", "From the change that asked for a registration to its confirmation.", WAITS, ["app"]
)

logger = logging.getLogger(__name__)


def run_batch(app: MobileApp) -> int:
    """Ask for the outcomes of a batch of the app's registrations; return how many."""
    gate = pauses.gate(app, MAX_BATCH)
    lease = gate.claim(lambda limit: claim(app, Step.CONFIRM, limit))
    if lease is None:
        return 0
    outcomes: dict[int, Outcome] = {}
    client = connect.cij(app)

    def ask() -> None:
        if not lease.lasts_for_a_call():
            raise NotMade("the lease ended before it was asked for")
        with carrying(row.asked_by for row in lease.rows):
            answers = client.statuses([row.request_id for row in lease.rows if row.request_id])
        outcomes.update(zip((row.id for row in lease.rows), answers, strict=True))

    # A 400 here means a wrong ApiToken, mobile app id or org: never the registrations' fault.
    error = attempt(ask)
    if error:
        logger.warning("%s: asking for %d outcomes: %s", app, len(lease.rows), error)
    elif any(reason_of(outcome.reason) is Reason.API_TOKEN for outcome in outcomes.values()):
        error = Denied("ApiTokenNotValid")
    failure = str(error)

    def decide(row: Registration, now: datetime) -> Change:
        outcome = outcomes.get(row.id)
        if outcome is None:
            return transitions.not_told(row, failure, now, settings.TOKENHUB_HANDOVER_PATIENCE)
        return transitions.confirmed(row, outcome, now, settings.TOKENHUB_HANDOVER_PATIENCE)

    def note() -> list[Registration]:
        settled = settle(lease.rows, decide)
        # What moved to a replaced connection meanwhile says nothing of the present one.
        waves.heed(app, [row for row in settled if row.app_id == app.pk])
        return settled

    # In one: a token that failed and was not counted would not be queued again with its wave.
    _count_waits(app, lease.rows, in_transaction(note))
    gate.heed(error)
    return len(lease.rows)


def _count_waits(app: MobileApp, claimed: Sequence[Registration], settled: Sequence[Registration]) -> None:
    """How long those waited for this outcome of which it is the first confirmation."""
    first = {row.id for row in claimed if row.registered_at is None}
    for row in settled:
        if row.id in first and row.registered_at and row.asked_at:
            REGISTERED.observe(max((row.registered_at - row.asked_at).total_seconds(), 0.0), app.slug)
