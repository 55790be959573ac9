"""What people decide of mappings: pin a record to a user, or have Dataverse asked again.

A pinned mapping is believed: no look-up moves it, whatever the app posts. The re-check still follows its record when
that is merged or qualified; where the record is gone the mapping is lost as any other, and looked up. Who decided and
when stays with the mapping, and each decision in the history.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from registry.models import DataverseMapping, MobileUser
from registry.ports import announce
from registry.services import history
from registry.services.errors import InvalidInput
from registry.services.locking import in_transaction
from registry.services.users import mark_devices
from registry.states import GIVEN, PINNED, DataverseTable, MappingState

AT_ONCE = 500


def pin(user: MobileUser, table: str, record: uuid.UUID, by: str) -> None:
    """Map the user to that record, because `by` says so. The caller has seen that the record is there and active.

    Raises InvalidInput: a table that the user's app does not look into, or a user who was erased meanwhile.
    """
    if table not in user.app.match:
        label = DataverseTable(table).label if table in DataverseTable.values else table
        raise InvalidInput("table", f"The app {user.app.slug} does not look for users in the table {label}.")

    def change(users: Sequence[int]) -> None:
        recheck_at = timezone.now() + settings.TOKENHUB_MAPPING_RECHECK
        _decide(
            users,
            by,
            state=MappingState.MAPPED,
            table=table,
            dataverse_id=record,
            matched_by=PINNED,
            candidates=[],
            detail=f"Chosen by {by}.",
            due_at=None,
            recheck_at=recheck_at,
            told_deleted=False,
        )
        mark_devices(users)
        announce(["plan"])

    if not _with_locked([user.pk], change):
        raise InvalidInput("user", "There is no such user any more.")


def ask_again(users: Sequence[int], by: str) -> int:
    """Have these users (ids, at most AT_ONCE) looked up at once; return how many there were.

    Whoever is mapped stays so until the look-up finds another record; a pinned one is not believed any longer, and one
    that their app gave stays.
    """

    def change(found: Sequence[int]) -> None:
        unpinned = Case(When(matched_by=PINNED, then=Value("")), default=F("matched_by"))
        _decide(found, by, due_at=Now(), attempts=0, matched_by=unpinned)
        announce(["map"])

    given = DataverseMapping.objects.filter(matched_by=GIVEN, user__in=users).values_list("user", flat=True)
    return _with_locked(sorted(set(users[:AT_ONCE]) - set(given)), change)


def _with_locked(users: Sequence[int], change: Any) -> int:
    """Lock the users, then their mappings, as everybody does; have those that are there changed."""

    def work() -> int:
        rows = MobileUser.objects.select_for_update(no_key=True).filter(pk__in=users).order_by("pk")
        found = list(rows.values_list("pk", flat=True))
        mappings = DataverseMapping.objects.select_for_update().filter(user__in=found).order_by("pk")
        known = set(mappings.values_list("pk", flat=True))
        DataverseMapping.objects.bulk_create([DataverseMapping(user_id=pk) for pk in found if pk not in known])
        if found:
            change(found)
        return len(found)

    return in_transaction(work)


def _decide(users: Sequence[int], by: str, **fields: Any) -> None:
    history.acting(by)
    # A higher claim_no drops the answer to a question that is in the air.
    DataverseMapping.objects.filter(pk__in=users).update(
        **fields, decided_by=by[:150], decided_at=Now(), claim_no=F("claim_no") + 1
    )
