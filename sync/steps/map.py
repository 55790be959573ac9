"""Map: find each user's record in Dataverse.

Tables in the app's order, in each its keys in the app's order; the first table and key with an active record
decides. One record: mapped. Several: ambiguous, never "the first wins". None: looked for again later, since the
record may be created later.
"""

import itertools
import logging
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from registry.models import DataverseMapping, MobileApp, MobileUser
from registry.services import bulk, clock
from registry.services.locking import in_transaction
from registry.services.users import mark_devices
from registry.states import MappingState, MatchKey
from sync import connect, pauses
from sync.clients.calls import carrying
from sync.clients.dataverse import DataverseClient, by_value
from sync.clients.errors import NotMade, Refused, RemoteError
from sync.steps.plan import plan_for

logger = logging.getLogger(__name__)

BATCH = 490  # users; their conditions fit into one query nearly always
ASK_AGAIN = timedelta(seconds=3)  # after a call that failed; an outage is the pause's business
NO_KEYS = "The app has posted neither an e-mail address nor a phone number for this user."

# MATERIALIZED: sync.outbox says why.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT m.user_id FROM registry_dataversemapping m JOIN registry_mobileuser u ON u.id = m.user_id
    WHERE m.due_at <= now() AND u.app_id = %(app)s
    ORDER BY m.due_at LIMIT %(limit)s
    FOR UPDATE OF m SKIP LOCKED
)
UPDATE registry_dataversemapping SET due_at = now() + %(lease)s, claim_no = claim_no + 1
WHERE user_id IN (SELECT user_id FROM due)
RETURNING *
"""


@dataclass(frozen=True)
class Answer:
    """What the look-ups of one user came to."""

    state: MappingState
    table: str = ""
    matched_by: str = ""
    candidates: tuple[uuid.UUID, ...] = ()


NOT_FOUND = Answer(MappingState.NOT_FOUND)


def run_batch(app: MobileApp) -> int:
    """Look up a batch of the app's due users; return how many."""
    gate = pauses.gate(app.dataverse, BATCH)
    ends = time.monotonic() + settings.TOKENHUB_LEASE.total_seconds() - connect.deadline()
    claimed = gate.claim(lambda limit: _claim(app, limit))
    if claimed is None:
        return 0
    mappings = {mapping.user_id: mapping for mapping in claimed}
    users = list(MobileUser.objects.filter(bulk.among("pk", mappings)))
    for user in users:
        user.mapping = mappings[user.id]
    answers, error = look_up(connect.dataverse(app.dataverse), app, users, ends)
    now = clock.now()
    answered = [mapping for mapping in claimed if mapping.user_id in answers]
    settle(answered, lambda mapping, user: change(mapping, user, answers[mapping.user_id], now))
    if error:
        logger.warning("Dataverse %s: %d users not looked up: %s", app.dataverse, len(claimed) - len(answers), error)
        _put_back([mapping for mapping in claimed if mapping.user_id not in answers])
    # Where a part was answered, the environment answers: one missing table or column does not stop the others.
    gate.heed(None if answers and isinstance(error, Refused) else error)
    return len(claimed)


def look_up(
    client: DataverseClient, app: MobileApp, users: Sequence[MobileUser], ends: float
) -> tuple[dict[int, Answer], RemoteError | None]:
    """Ask Dataverse for all users at once, level by level.

    Returns each user's answer by id, and the error that leaves the others without one. A table or column that
    Dataverse refuses is passed over: who is found before or after it is found, who is not stays unanswered. No query
    starts after `ends` (monotonic seconds), when the lease would not outlast it.
    """
    answers: dict[int, Answer] = {}
    refusal: RemoteError | None = None
    tables = connect.tables(app.dataverse)
    for table, key in itertools.product(app.match, app.match_by):
        waiting = [user for user in users if user.id not in answers and _value(user, key)]
        if not waiting:
            continue
        if time.monotonic() > ends:
            return answers, NotMade("the lease ended before everybody was looked up")
        column = tables[table].email_column if key == MatchKey.EMAIL else tables[table].phone_column
        try:
            with carrying(user.mapping.asked_by for user in waiting):
                found = by_value(client.find(tables[table], column, sorted({_value(user, key) for user in waiting})))
        except Refused as error:
            refusal = Refused(f"{error} for {column} of {tables[table].entity_set}")
            continue
        except RemoteError as error:
            return answers, error
        for user in waiting:
            if ids := found.get(_value(user, key).casefold()):
                answers[user.id] = _answer(table, key, ids)
    if refusal is None:
        for user in users:
            answers.setdefault(user.id, NOT_FOUND)
    return answers, refusal


def _value(user: MobileUser, key: str) -> str:
    return user.email if key == MatchKey.EMAIL else user.phone


def _answer(table: str, key: str, ids: Sequence[uuid.UUID]) -> Answer:
    candidates = tuple(sorted(set(ids)))
    state = MappingState.MAPPED if len(candidates) == 1 else MappingState.AMBIGUOUS
    return Answer(state, table, key, candidates)


def _claim(app: MobileApp, limit: int) -> list[DataverseMapping]:
    parameters = {"app": app.pk, "limit": limit, "lease": settings.TOKENHUB_LEASE}
    return DataverseMapping.run(_CLAIM, parameters)


def _put_back(claimed: Sequence[DataverseMapping]) -> None:
    """Nothing is known of these, so nothing changes but when to ask again."""
    now = clock.now()
    for mapping in claimed:
        ours = DataverseMapping.objects.filter(pk=mapping.user_id, claim_no=mapping.claim_no)
        ours.update(due_at=now + ASK_AGAIN * random.uniform(0.75, 1.25))  # noqa: S311 jitter


def settle(
    claimed: Sequence[DataverseMapping], decide: Callable[[DataverseMapping, MobileUser], dict[str, Any]]
) -> None:
    """Write what `decide` makes of the mappings whose lease still holds. The devices of who was found are planned at
    once, those of who was another before are marked for the planner."""
    in_transaction(lambda: _write({mapping.user_id: mapping.claim_no for mapping in claimed}, decide))


def _write(claim_nos: dict[int, int], decide: Callable[[DataverseMapping, MobileUser], dict[str, Any]]) -> None:
    # Users first, then mappings, then devices: the order of the ingest.
    locked = MobileUser.objects.select_for_update(no_key=True).filter(bulk.among("pk", claim_nos)).order_by("pk")
    users = {user.id: user for user in locked}
    moved: list[int] = []
    found: dict[int, tuple[MobileUser, DataverseMapping]] = {}
    changed: list[DataverseMapping] = []
    fields: set[str] = set()
    for mapping in DataverseMapping.objects.select_for_update().filter(bulk.among("pk", claim_nos)).order_by("pk"):
        if mapping.claim_no != claim_nos[mapping.user_id]:
            continue  # the user's e-mail or phone changed meanwhile: this answer is about the old ones
        before = (mapping.state, mapping.dataverse_id, mapping.table)
        written = decide(mapping, users[mapping.user_id])
        fields.update(written)
        changed.append(mapping)
        for name, value in written.items():
            setattr(mapping, name, value)
        if before[0] != MappingState.MAPPED:
            if mapping.state == MappingState.MAPPED:
                found[mapping.user_id] = (users[mapping.user_id], mapping)
        elif before != (mapping.state, mapping.dataverse_id, mapping.table):
            moved.append(mapping.user_id)
    bulk.update(changed, sorted(fields))
    if moved:
        mark_devices(moved)
    if found:
        plan_for(found)


def change(mapping: DataverseMapping, user: MobileUser, answer: Answer, now: datetime) -> dict[str, Any]:
    """The fields that an answer writes. A mapping is sticky: later duplicates are reported, not followed."""
    base: dict[str, Any] = {"checked_at": now, "attempts": 0, "due_at": None, "detail": "", "candidates": []}
    if answer.state is MappingState.NOT_FOUND:
        if mapping.state == MappingState.MAPPED:
            return base | {"detail": "No active record matches the user's present e-mail address or phone number."}
        if not user.email and not user.phone:
            return base | {"state": MappingState.NOT_FOUND, "detail": NO_KEYS}
        waits = settings.TOKENHUB_LOOK_AGAIN
        wait = waits[min(mapping.attempts, len(waits) - 1)]
        # A record that was lost stays told of until another is found.
        detail = mapping.detail if mapping.state == MappingState.NOT_FOUND and mapping.detail != NO_KEYS else ""
        again = {"detail": detail, "attempts": mapping.attempts + 1, "due_at": now + wait}
        return base | again | {"state": MappingState.NOT_FOUND}
    if answer.state is MappingState.AMBIGUOUS:
        listed = [str(candidate) for candidate in answer.candidates]
        detail = f"{len(listed)} active records of table {answer.table} have the same {answer.matched_by}."
        if mapping.state == MappingState.MAPPED and mapping.dataverse_id in answer.candidates:
            return base | {"candidates": listed, "detail": f"{detail} The one mapped first is kept."}
        unmapped = {"table": answer.table, "dataverse_id": None, "matched_by": answer.matched_by}
        wait = settings.TOKENHUB_LOOK_AGAIN[-1]  # somebody may merge them in Dataverse
        return (
            base
            | unmapped
            | {
                "state": MappingState.AMBIGUOUS,
                "candidates": listed,
                "detail": f"{detail} One has to be chosen.",
                "due_at": now + wait,
            }
        )
    return base | {
        "state": MappingState.MAPPED,
        "table": answer.table,
        "dataverse_id": answer.candidates[0],
        "matched_by": answer.matched_by,
        "recheck_at": now + settings.TOKENHUB_MAPPING_RECHECK,
        "told_deleted": False,
    }
