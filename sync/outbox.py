"""Claim and settle: the database is the queue.

A claim is one short statement that pushes `due_at` past the lease and raises `claim_no`; it commits before
anybody speaks HTTP. Settling writes the rows that are as the claim left them; `xmin`, the transaction that wrote a row
last, tells. Others it locks and reads again, and writes only those whose `claim_no` is still ours. An answer for any
other came too late: it changes no state, but marks the row, since the far end may have acted.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Min, QuerySet
from django.db.models.functions import Now

from registry.models import MobileApp, Registration
from registry.services import bulk, clock
from registry.services.locking import in_transaction
from registry.states import Platform, RegistrationState, Step

BATCH = 100
IDLE = {RegistrationState.REGISTERED, RegistrationState.FAILED, RegistrationState.RETIRED}

Change = Mapping[str, Any]
Decide = Callable[[Registration, datetime], Change]

# Of an app whose connection is being replaced, or was since the app was read, nothing is claimed: what moves to the old
# connection is claimed there, and what is new is not for it.
# MATERIALIZED: PostgreSQL may ask for a mere subquery once for each row of a table that it takes for small, and skips
# what it took before, so that the limit would be none.
_CLAIM = """
WITH present AS MATERIALIZED (
    SELECT id FROM registry_mobileapp WHERE id = %(app)s AND connection_no = %(connection)s FOR SHARE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT r.id FROM registry_registration r
    WHERE r.app_id = %(app)s AND EXISTS (SELECT FROM present)
        AND r.step = %(step)s AND r.due_at <= now() AND r.platform = ANY(%(platforms)s) {where}
    ORDER BY {{order}} LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE registry_registration
SET due_at = now() + %(lease)s, in_flight = true, claim_no = claim_no + 1, {set}
WHERE id IN (SELECT id FROM due)
RETURNING *, xmin::text AS version
"""
_CLAIMS = {
    Step.PUSH: _CLAIM.format(
        # From here on CI-J may hold the triple, whatever becomes of this process.
        set="state = 'ready', recheck = false, maybe_held = true, sent_platform = platform,"
        " sent_at = now(), request_id = NULL,"
        " cleaned_at = NULL, unanswered_until = greatest(unanswered_until, undecided_until),"
        " undecided_until = now() + %(pending_limit)s",
        # OFFSET 0: PostgreSQL looks at the index row by row, however few rows it believes that there are.
        # Invariant 3: nobody is registered with a token that CI-J may hold for somebody else.
        where="""AND NOT EXISTS (
            SELECT FROM registry_registration o
            WHERE o.app_id = r.app_id AND o.token_hash = r.token_hash AND o.maybe_held AND o.id <> r.id OFFSET 0
        )
        -- Nor under a connection that was replaced: the phone would get the former user's messages by way of it.
        AND NOT EXISTS (
            SELECT FROM registry_mobileapp p JOIN registry_registration o ON o.app_id = p.id
            WHERE p.replaced_by_id = r.app_id AND o.token_hash = r.token_hash AND o.maybe_held
                AND o.dataverse_id <> r.dataverse_id
            OFFSET 0
        )
        -- The same app of CI-J at another endpoint, or left and come back to: its cleanup would be of this very triple.
        AND NOT EXISTS (
            SELECT FROM registry_mobileapp a
            JOIN registry_mobileapp p
                ON p.replaced_by_id = a.id AND p.org_id = a.org_id AND p.mobile_app_id = a.mobile_app_id
            JOIN registry_registration o ON o.app_id = p.id
            WHERE a.id = r.app_id AND o.token_hash = r.token_hash AND o.dataverse_id = r.dataverse_id
                AND (o.maybe_held OR o.due_at IS NOT NULL OR o.cleanup_echo_until > now())
            OFFSET 0
        )""",
    ),
    Step.CONFIRM: _CLAIM.format(set="state = 'sent'", where=""),
    Step.CLEANUP: _CLAIM.format(
        set="state = 'retiring', recheck = false, cleaned_at = NULL, cleanup_sent_at = now(), cleanup_echo_until ="
        " greatest(cleanup_echo_until, cleanup_sent_at + %(echo)s), unanswered_until ="
        " CASE WHEN request_id IS NULL THEN greatest(unanswered_until, undecided_until) ELSE unanswered_until END",
        # Not those that settle after an accepted cleanup, and not those that never left the house.
        where="""AND (r.state <> 'retiring' OR r.cleaned_at IS NULL)
            AND (r.state NOT IN ('ready', 'failed') OR r.maybe_held OR r.recheck)""",
    ),
}
CLAIM = {step: statement.format(order="r.urgent DESC, r.due_at") for step, statement in _CLAIMS.items()}
# A probe is best made with a row that was not refused before: one poison item must not keep its app resting.
PROBE = {step: statement.format(order="r.attempts, r.due_at") for step, statement in _CLAIMS.items()}


@dataclass(frozen=True)
class Lease:
    """Rows that are ours until `ends` (this process's monotonic clock, seconds)."""

    rows: Sequence[Registration]
    ends: float

    def __len__(self) -> int:
        return len(self.rows)

    def lasts_for_a_call(self) -> bool:
        """Whether a call that starts now is over before the lease is."""
        return time.monotonic() + settings.TOKENHUB_CALL_DEADLINE.total_seconds() < self.ends


def claim(app: MobileApp, step: Step, limit: int = BATCH, platforms: Sequence[str] = tuple(Platform.values)) -> Lease:
    """Take up to `limit` due rows of one app, for one step, of these platforms.

    Empty where there are none, or where a race was lost.
    """
    ends = time.monotonic() + settings.TOKENHUB_LEASE.total_seconds()
    parameters = {
        "app": app.pk,
        "connection": app.connection_no,
        "step": step.value,
        "limit": limit,
        "platforms": list(platforms),
        "lease": settings.TOKENHUB_LEASE,
        "pending_limit": settings.TOKENHUB_PENDING_LIMIT,
        "echo": settings.TOKENHUB_CLEANUP_ECHO,
    }
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                # By the index, in its order. Where a million rows came faster than statistics PostgreSQL takes them for
                # few, and would sort all of them for a hundred.
                cursor.execute("SET LOCAL enable_sort = off")
            rows = Registration.run((PROBE if limit == 1 else CLAIM)[step], parameters)
    except IntegrityError:
        # The constraint of one holder a token spoke where two claims crossed: the next sweep sees the winner.
        rows = []
    return Lease(rows, ends)


def settle(rows: Sequence[Registration], decide: Decide) -> list[Registration]:
    """Write what `decide` makes of each row that is still ours; return those rows as they are now.

    `decide` gets the row as it stands now, so that a change of what is desired since the claim is seen.
    """
    return in_transaction(lambda: _settle(rows, decide))


def _settle(rows: Sequence[Registration], decide: Decide) -> list[Registration]:
    now = clock.now()

    def change(row: Registration) -> tuple[Registration, Change]:
        return row, {**_recheck(row, decide(row, now), now), "in_flight": False}

    untouched = [change(_copy(row)) for row in rows]
    written = write(untouched, version=rows[0].version) if rows else set()
    settled = [row for row, _ in untouched if row.id in written]
    changed = [row for row in rows if row.id not in written]
    return settled + _settle_changed(changed, change, now) if changed else settled


def _settle_changed(
    rows: Sequence[Registration], change: Callable[[Registration], tuple[Registration, Change]], now: datetime
) -> list[Registration]:
    """Of rows that somebody has written since they were claimed: the planner, or whoever claimed them after us."""
    current = {row.id: row for row in _locked(rows)}
    ours: list[Registration] = []
    late: list[tuple[Registration, Change]] = []
    for claimed in rows:
        row = current.get(claimed.id)
        if row is None:
            continue  # its user was erased meanwhile, and an administrator did not wait
        if row.claim_no == claimed.claim_no:
            ours.append(row)
        else:
            late.append((row, _came_late(row, claimed, now)))
    write([change(row) for row in ours] + late)
    return ours


def _copy(row: Registration) -> Registration:
    """What is decided may be decided again, after a deadlock: of the row as it was claimed."""
    copy = Registration.__new__(Registration)
    copy.__dict__.update(row.__dict__)
    return copy


def write(changes: Sequence[tuple[Registration, Change]], version: str | None = None) -> set[int]:
    """Apply changes to rows that are locked, or that nobody has written since that version, and store just those
    fields; return the keys of those written."""
    fields: set[str] = set()
    for row, change in changes:
        fields.update(change)
        for name, value in change.items():
            setattr(row, name, value)
    return bulk.update([row for row, _ in changes], sorted(fields), version)


def next_due(queue: QuerySet[Any]) -> datetime | None:
    """When the next row of a queue falls due. What is due already and was not taken is leased, paused or blocked."""
    found: datetime | None = queue.filter(due_at__gt=Now()).aggregate(due=Min("due_at"))["due"]
    return found


def _locked(rows: Sequence[Registration]) -> list[Registration]:
    return list(
        Registration.objects.select_for_update().filter(bulk.among("pk", [row.id for row in rows])).order_by("pk")
    )


def _recheck(row: Registration, change: Change, now: datetime) -> Change:
    """Go round once more where an answer came after its lease was lost."""
    if row.recheck and change.get("state", row.state) in IDLE:
        return {**change, "due_at": now}
    return change


def _came_late(row: Registration, claimed: Registration, now: datetime) -> Change:
    change: dict[str, Any] = {"recheck": True}
    if row.state in IDLE and not row.in_flight:
        change["due_at"] = now
    if claimed.state == RegistrationState.RETIRING:
        # A cleanup: it may come to pass yet, after whatever was registered since.
        change["cleanup_echo_until"] = now + settings.TOKENHUB_CLEANUP_ECHO
    return change
