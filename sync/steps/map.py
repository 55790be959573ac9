"""Map: find each user's record in Dataverse.

Tables in the app's order, in each its keys in the app's order; the first table and key with an active record
decides. One record: mapped. Several: ambiguous, never "the first wins". None: looked for again later, since the
record may be created later.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from registry.models import DataverseMapping, MobileApp, MobileUser
from registry.services.ingest import mark_devices
from registry.states import MappingState, MatchKey
from sync import connect, pauses
from sync.clients.dataverse import DataverseClient, by_value
from sync.clients.errors import RemoteError
from sync.policy import backoff

logger = logging.getLogger(__name__)

BATCH = 490  # users; their conditions fit into one query nearly always
LOOK_AGAIN = [timedelta(seconds=30), *(timedelta(minutes=m) for m in (2, 10, 60, 360)), timedelta(days=1)]
NO_KEYS = "The app has posted neither an e-mail address nor a phone number for this user."

_CLAIM = """
UPDATE registry_dataversemapping SET due_at = now() + %(lease)s, claim_no = claim_no + 1
WHERE user_id IN (
    SELECT m.user_id FROM registry_dataversemapping m JOIN registry_mobileuser u ON u.id = m.user_id
    WHERE m.due_at <= now() AND u.app_id = %(app)s
    ORDER BY m.due_at LIMIT %(limit)s
    FOR UPDATE OF m SKIP LOCKED
)
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
    claimed = _claim(app, gate.limit) if gate.limit else []
    if not claimed:
        return 0
    users = MobileUser.objects.in_bulk([mapping.user_id for mapping in claimed])
    try:
        answers = look_up(connect.dataverse(app.dataverse), app, list(users.values()))
    except RemoteError as error:
        logger.warning("Dataverse %s: looking up %d users: %s", app.dataverse, len(claimed), error)
        _put_back(claimed)
        gate.heed(error)
    else:
        _settle(claimed, answers)
        gate.heed(None)
    return len(claimed)


def look_up(client: DataverseClient, app: MobileApp, users: Sequence[MobileUser]) -> dict[int, Answer]:
    """Ask Dataverse for all users at once, level by level; return each user's answer by id. Raises RemoteError."""
    answers: dict[int, Answer] = {}
    tables = connect.tables(app.dataverse)
    for table in app.match:
        for key in app.match_by:
            waiting = [user for user in users if user.pk not in answers and _value(user, key)]
            column = tables[table].email_column if key == MatchKey.EMAIL else tables[table].phone_column
            found = by_value(client.find(tables[table], column, sorted({_value(user, key) for user in waiting})))
            for user in waiting:
                if ids := found.get(_value(user, key).casefold()):
                    answers[user.pk] = _answer(table, key, ids)
    return answers


def _value(user: MobileUser, key: str) -> str:
    return user.email if key == MatchKey.EMAIL else user.phone


def _answer(table: str, key: str, ids: Sequence[uuid.UUID]) -> Answer:
    candidates = tuple(sorted(set(ids)))
    state = MappingState.MAPPED if len(candidates) == 1 else MappingState.AMBIGUOUS
    return Answer(state, table, key, candidates)


def _claim(app: MobileApp, limit: int) -> list[DataverseMapping]:
    parameters = {"app": app.pk, "limit": limit, "lease": settings.TOKENHUB_LEASE}
    return list(DataverseMapping.objects.raw(_CLAIM, parameters))


def _put_back(claimed: Sequence[DataverseMapping]) -> None:
    """The look-up failed: nothing is known, so nothing changes but when to ask again."""
    now = timezone.now()
    for mapping in claimed:
        due_at = now + backoff(mapping.attempts)
        DataverseMapping.objects.filter(pk=mapping.pk, claim_no=mapping.claim_no).update(
            due_at=due_at, attempts=mapping.attempts + 1
        )


def _settle(claimed: Sequence[DataverseMapping], answers: dict[int, Answer]) -> None:
    now = timezone.now()
    claim_nos = {mapping.pk: mapping.claim_no for mapping in claimed}
    with transaction.atomic():
        # Users first, then mappings, then devices: the order of the ingest.
        users = {
            user.pk: user for user in MobileUser.objects.select_for_update().filter(pk__in=claim_nos).order_by("pk")
        }
        moved: list[int] = []
        for mapping in DataverseMapping.objects.select_for_update().filter(pk__in=claim_nos).order_by("pk"):
            if mapping.claim_no != claim_nos[mapping.pk]:
                continue  # the user's e-mail or phone changed meanwhile: this answer is about the old ones
            before = (mapping.state, mapping.dataverse_id, mapping.table)
            for name, value in change(mapping, users[mapping.pk], answers.get(mapping.pk, NOT_FOUND), now).items():
                setattr(mapping, name, value)
            mapping.save()
            if before != (mapping.state, mapping.dataverse_id, mapping.table):
                moved.append(mapping.pk)
        mark_devices(moved)


def change(mapping: DataverseMapping, user: MobileUser, answer: Answer, now: datetime) -> dict[str, Any]:
    """The fields that an answer writes. A mapping is sticky: later duplicates are reported, not followed."""
    base: dict[str, Any] = {"checked_at": now, "attempts": 0, "due_at": None, "detail": "", "candidates": []}
    if answer.state is MappingState.NOT_FOUND:
        if mapping.state == MappingState.MAPPED:
            return base | {"detail": "No active record matches the user's present e-mail address or phone number."}
        if not user.email and not user.phone:
            return base | {"state": MappingState.NOT_FOUND, "detail": NO_KEYS}
        wait = LOOK_AGAIN[min(mapping.attempts, len(LOOK_AGAIN) - 1)]
        return base | {"state": MappingState.NOT_FOUND, "attempts": mapping.attempts + 1, "due_at": now + wait}
    if answer.state is MappingState.AMBIGUOUS:
        listed = [str(candidate) for candidate in answer.candidates]
        detail = f"{len(listed)} active records of table {answer.table} have the same {answer.matched_by}."
        if mapping.state == MappingState.MAPPED and mapping.dataverse_id in answer.candidates:
            return base | {"candidates": listed, "detail": f"{detail} The one mapped first is kept."}
        unmapped = {"table": answer.table, "dataverse_id": None, "matched_by": answer.matched_by}
        wait = LOOK_AGAIN[-1]  # somebody may merge them in Dataverse
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
    }
