"""Confirm: ask CI-J what became of the registrations that it accepted. Its answer is the truth, no callback is."""

import logging
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from registry.models import MobileApp, Registration
from registry.states import Step
from sync import connect, pauses, policy, waves
from sync.clients.cij import MAX_BATCH, Outcome
from sync.clients.errors import Denied, RemoteError
from sync.outbox import Change, claim, settle

logger = logging.getLogger(__name__)


def run_batch(app: MobileApp) -> int:
    """Ask for the outcomes of a batch of the app's registrations; return how many."""
    gate = pauses.gate(app, MAX_BATCH)
    lease = claim(app, Step.CONFIRM, gate.limit)
    if not lease.rows:
        return 0
    outcomes: dict[int, Outcome] = {}
    failure = "the lease ended before it was asked for"
    try:
        if lease.lasts_for_a_call():
            request_ids = [row.request_id for row in lease.rows if row.request_id]
            answers = connect.cij(app).statuses(request_ids)
            outcomes = dict(zip((row.pk for row in lease.rows), answers, strict=True))
            if any(policy.known_reason(outcome.reason) == "ApiTokenNotValid" for outcome in answers):
                gate.stopped(Denied("ApiTokenNotValid"))
            else:
                gate.passed()
    except RemoteError as error:
        failure = str(error)
        logger.warning("%s: asking for %d outcomes: %s", app, len(lease.rows), error)
        # A 400 here means a wrong ApiToken, mobile app id or org: never the registrations' fault.
        gate.stopped(error)

    def decide(row: Registration, now: datetime) -> Change:
        outcome = outcomes.get(row.pk)
        if outcome is None:
            return policy.try_again(row, failure, now)
        return policy.confirmed(row, outcome, now, settings.TOKENHUB_HANDOVER_PATIENCE)

    since = timezone.now()
    waves.heed(app, settle(lease.rows, decide), since)
    return len(lease.rows)
