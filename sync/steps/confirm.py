"""Confirm: ask CI-J what became of the registrations that it accepted. Its answer is the truth, no callback is."""

import logging
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings

from registry.models import MobileApp, Registration
from registry.states import Step
from sync import connect, pauses, policy
from sync.clients.cij import MAX_BATCH, Outcome
from sync.clients.errors import Denied, Refused, RemoteError
from sync.outbox import Change, claim, settle

logger = logging.getLogger(__name__)


def run_batch(app: MobileApp) -> int:
    """Ask for the outcomes of a batch of the app's registrations; return how many."""
    limit = pauses.allowance(app, MAX_BATCH)
    lease = claim(app, Step.CONFIRM, limit) if limit else None
    if lease is None or not lease.rows:
        return 0
    outcomes: dict[int, Outcome] = {}
    failure = "the lease ended before it was asked for"
    try:
        if lease.lasts_for_a_call():
            request_ids = [row.request_id for row in lease.rows if row.request_id]
            answers = connect.cij(app).statuses(request_ids)
            outcomes = dict(zip((row.pk for row in lease.rows), answers, strict=True))
            _heed(app, outcomes.values(), probing=limit < MAX_BATCH)
    except RemoteError as error:
        failure = str(error)
        logger.warning("%s: asking for %d outcomes: %s", app, len(lease.rows), error)
        # A 400 here means a wrong ApiToken, mobile app id or org: never the registrations' fault.
        if isinstance(error, Refused) or pauses.stops_everything(error):
            pauses.rest(app, error)

    def decide(row: Registration, now: datetime) -> Change:
        outcome = outcomes.get(row.pk)
        if outcome is None:
            return policy.try_again(row, failure, now)
        return policy.confirmed(row, outcome, now, settings.TOKENHUB_HANDOVER_PATIENCE)

    settle(lease.rows, decide)
    return len(lease.rows)


def _heed(app: MobileApp, outcomes: Iterable[Outcome], *, probing: bool) -> None:
    """Pause the app where CI-J says that its ApiToken is not valid; end a pause that this call has probed."""
    if any(policy.known_reason(outcome.reason) == "ApiTokenNotValid" for outcome in outcomes):
        pauses.rest(app, Denied("ApiTokenNotValid"))
    elif probing:
        pauses.resume(app)
