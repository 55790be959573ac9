"""Re-check: see whether the records that users are mapped to are still what they were.

1. When one mapping of an app is due, those that fall due within half a period are taken along: few calls, and a batch
   that is large enough to tell a withdrawn privilege from a deletion.
2. The records are read by id, with those that they lead to: masters of merged contacts, contacts of qualified leads.
3. Where the batch would lose most of its mappings nothing is changed, and the environment rests. Records that change
   tracking told to be deleted do not count: they are lost in any case.
4. Otherwise a mapping stays, moves, or is lost; a lost one is looked up afresh at once.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from registry.models import DataverseEnvironment, DataverseMapping, MobileApp
from registry.services import clock
from registry.states import GIVEN, MappingState
from sync import connect, pauses, records
from sync.clients.errors import RemoteError
from sync.records import Ref
from sync.steps.map import settle

logger = logging.getLogger(__name__)

BATCH = 490
AFTER_FAILURE = timedelta(seconds=30)

# No other claim takes them along: what is claimed is due beyond the time that a claim looks ahead, and should the
# worker die it is looked at then. MATERIALIZED: sync.outbox says why.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT m.user_id FROM registry_dataversemapping m JOIN registry_mobileuser u ON u.id = m.user_id
    WHERE m.state = 'mapped' AND m.dataverse_id IS NOT NULL AND m.due_at IS NULL AND m.matched_by <> 'given'
        AND m.recheck_at <= now() + %(ahead)s AND u.app_id = %(app)s
    ORDER BY m.recheck_at LIMIT %(limit)s
    FOR UPDATE OF m SKIP LOCKED
)
UPDATE registry_dataversemapping SET recheck_at = now() + %(ahead)s + %(lease)s, claim_no = claim_no + 1
WHERE user_id IN (SELECT user_id FROM due)
RETURNING *
"""


def run_batch(app: MobileApp) -> int:
    """Look again at a batch of the app's mapped records; return how many."""
    environment = app.dataverse
    mapped = DataverseMapping.objects.filter(user__app=app, state=MappingState.MAPPED, due_at__isnull=True)
    mapped = mapped.exclude(matched_by=GIVEN)
    if not mapped.filter(recheck_at__lte=Now()).exists():
        return 0
    gate = pauses.gate(environment, BATCH, rechecks=True)
    claimed = gate.claim(lambda limit: _claim(app, limit))
    if claimed is None:
        return 0
    starts = {mapping.pk: _ref(mapping) for mapping in claimed}
    try:
        known = records.trace(
            connect.dataverse(environment), connect.tables(environment), app.match, set(starts.values())
        )
    except RemoteError as error:
        logger.warning("Dataverse %s: re-checking %d mappings: %s", environment, len(claimed), error)
        _put_back(claimed, clock.now() + AFTER_FAILURE)
        gate.heed(error)
        return len(claimed)
    ends = {pk: records.end_of(start, known) for pk, start in starts.items()}
    lost = {pk for pk, end in ends.items() if isinstance(end, str)}
    # A withdrawn privilege looks like deletions, but nobody tells of any.
    told = {mapping.pk for mapping in claimed if mapping.told_deleted} & lost
    counted = len(ends) - len(told)
    if gate.limit < BATCH:
        # One record probed the far end; alone it cannot tell a withdrawn privilege from a deletion.
        _put_back(claimed, clock.now())
        gate.heed(None)
    elif _too_many(environment, gate, len(lost - told), counted):
        _settle([mapping for mapping in claimed if mapping.pk in told], ends)
        _put_back([mapping for mapping in claimed if mapping.pk not in told], clock.now())
        pauses.rest_for_losses(environment, f"{len(lost - told)} of {counted} records of app {app} at once")
    else:
        _settle(claimed, ends)
        if counted:  # else nothing was seen of what others may have lost
            gate.heed(None)
    return len(claimed)


def _settle(claimed: Sequence[DataverseMapping], ends: Mapping[int, Ref | str]) -> None:
    now = clock.now()
    settle(claimed, lambda mapping, _: change(mapping, ends[mapping.pk], now))


def change(mapping: DataverseMapping, end: Ref | str, now: datetime) -> dict[str, Any]:
    """The fields that a re-check writes: the mapping stays, moves to another record, or is lost."""
    checked = {"checked_at": now, "recheck_at": now + settings.TOKENHUB_MAPPING_RECHECK, "told_deleted": False}
    if isinstance(end, str):
        # Looked up at once, by e-mail and phone: another record may be theirs by now.
        lost: dict[str, Any] = {
            "table": "",
            "dataverse_id": None,
            "matched_by": "",
            "candidates": [],
            "attempts": 0,
            "due_at": now,
        }
        return checked | lost | {"state": MappingState.NOT_FOUND, "detail": f"{end} Looked for again."}
    if end == _ref(mapping):
        return checked
    how = "merged into another" if end.table == mapping.table else "qualified"
    detail = f"The {mapping.get_table_display()} that this user was mapped to was {how}: followed."
    return checked | {"table": end.table, "dataverse_id": end.id, "candidates": [], "detail": detail}


def loses_too_many(lost: int, checked: int, *, at_least: int, ratio: float) -> bool:
    """Whether a re-check looks like a withdrawn privilege rather than like deletions."""
    return checked >= at_least and lost > ratio * checked


def _too_many(environment: DataverseEnvironment, gate: pauses.Gate, lost: int, checked: int) -> bool:
    """The fuse, unless a person has accepted the losses; a large batch that loses few ends what they accepted."""
    # A probe is as large as what was put back, and that may have become less.
    at_least = 1 if gate.noted and pauses.is_for_losses(gate.noted) else settings.TOKENHUB_MAPPING_LOSS_MIN
    too_many = loses_too_many(lost, checked, at_least=at_least, ratio=settings.TOKENHUB_MAPPING_LOSS_RATIO)
    until = environment.losses_accepted_until
    if until and checked >= settings.TOKENHUB_MAPPING_LOSS_MIN and not too_many:
        DataverseEnvironment.objects.filter(pk=environment.pk).update(losses_accepted_until=None)
    return too_many and not (until and until > clock.now())


def _claim(app: MobileApp, limit: int) -> list[DataverseMapping]:
    ahead = settings.TOKENHUB_MAPPING_RECHECK / 2
    parameters = {"app": app.pk, "limit": limit, "ahead": ahead, "lease": settings.TOKENHUB_LEASE}
    return DataverseMapping.run(_CLAIM, parameters)


def _put_back(claimed: Sequence[DataverseMapping], recheck_at: datetime) -> None:
    """Nothing is known, or nothing is believed: nothing changes but when to look again."""
    for mapping in claimed:
        DataverseMapping.objects.filter(pk=mapping.pk, claim_no=mapping.claim_no).update(recheck_at=recheck_at)


def _ref(mapping: DataverseMapping) -> Ref:
    if mapping.dataverse_id is None:
        raise ValueError(f"the mapping of user {mapping.pk} has no record")
    return Ref(mapping.table, mapping.dataverse_id)
