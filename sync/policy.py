"""What happens to a registration after each answer: pure functions, drawn in docs/states.md.

Each takes the row as it stands now (freshly locked) and returns the fields to write. `due_at` None means that
nothing is left to do.
"""

import random
from datetime import datetime, timedelta
from typing import Any

from registry.models import Registration
from registry.states import FailureReason, RegistrationState
from sync.clients.cij import Outcome, Status

Change = dict[str, Any]

FIRST_POLL = timedelta(seconds=1)
SLOWEST_POLL = timedelta(minutes=15)
MAX_ROUNDS = 3
TRANSPORT_SLOW_AFTER = timedelta(minutes=10)
TRANSPORT_SLOW = timedelta(minutes=15)


def backoff(attempts: int) -> timedelta:
    """Delay before attempt number `attempts` + 1: 1 s doubling to 30 s with jitter, after about ten minutes 15 min.

    Never given up: the far end comes back some day. 24 attempts of at most 30 s are about ten minutes.
    """
    if attempts > TRANSPORT_SLOW_AFTER / timedelta(seconds=25):
        return TRANSPORT_SLOW * random.uniform(0.9, 1.1)  # noqa: S311 jitter, not a secret
    return timedelta(seconds=min(30.0, 2.0 ** min(attempts, 10))) * random.uniform(0.75, 1.25)  # noqa: S311


def known_reason(text: str) -> str:
    """CI-J's failure reason without the blanks and sentences that it has been documented with."""
    squeezed = "".join(text.split()).lower()
    for name in (
        "DuplicateExists",
        "DryRunSendingFailed",
        "DeviceTokenTooLong",
        "FailedToStoreDevice",
        "ApiTokenNotValid",
    ):
        if name.lower() in squeezed:
            return name
    if "testinvisiblenotification" in squeezed:
        return "DryRunSendingFailed"
    if "apitoken" in squeezed and "notvalid" in squeezed:
        return "ApiTokenNotValid"
    return ""


def accepted(row: Registration, request_id: Any, now: datetime) -> Change:
    """CI-J took the registration (202): ask for the outcome soon."""
    return {
        "state": RegistrationState.SENT,
        "request_id": request_id,
        "reason": "",
        "detail": "",
        "due_at": now + FIRST_POLL,
    }


def refused(row: Registration, detail: str, now: datetime) -> Change:
    """CI-J refused this one registration (400) and takes others: it holds nothing of it."""
    return failed(row, FailureReason.REFUSED, detail, now)


def failed(row: Registration, reason: str, detail: str, now: datetime) -> Change:
    """A decided failure: this attempt stored nothing, and trying the same again would not help."""
    return {
        "state": RegistrationState.FAILED,
        "reason": reason,
        "detail": detail,
        "decided_at": now,
        "request_id": None,
        "undecided_until": None,
        "maybe_held": held_before(row, now),
        "cleaned_at": None,
        "due_at": None if row.desired else now,
    }


def held_before(row: Registration, now: datetime) -> bool:
    """Whether CI-J may hold the triple from before this attempt, which stored nothing: only a cleanup ends that."""
    return row.registered_at is not None or (row.unanswered_until is not None and row.unanswered_until > now)


def unanswered(row: Registration, detail: str, now: datetime, patience: timedelta) -> Change:
    """The registration was sent and nobody knows whether it arrived: send it again, or clean it up once it had time."""
    change = try_again(row, detail, now)
    if not row.desired:
        change["due_at"] = max(change["due_at"], (row.sent_at or now) + patience)
    return change


def try_again(row: Registration, detail: str, now: datetime) -> Change:
    """No answer that decides anything: the same step again later. What may be held stays so."""
    return {"attempts": row.attempts + 1, "detail": detail, "due_at": now + backoff(row.attempts)}


def confirmed(row: Registration, outcome: Outcome, now: datetime, patience: timedelta) -> Change:
    """The outcome of a tracked registration."""
    if outcome.status is Status.PENDING:
        return still_pending(row, now, patience)
    reason = known_reason(outcome.reason)
    if outcome.status is Status.SUCCESS or reason == "DuplicateExists":
        return _held(row, now)
    if row.cleaned_at is not None:
        return _clean_again(now)
    if reason == "ApiTokenNotValid":
        return _send_again(row, outcome.reason, now)
    if reason in (FailureReason.DRY_RUN, FailureReason.TOKEN_TOO_LONG):
        return failed(row, reason, outcome.reason, now)
    # FailedToStoreDevice, and whatever Microsoft may add: nothing says that it would fail for ever.
    return _send_again(row, outcome.reason, now)


def _held(row: Registration, now: datetime) -> Change:
    if row.cleaned_at is not None:  # cleaned up while it was undecided: which of the two came last is not known
        return _clean_again(now)
    return {
        "state": RegistrationState.REGISTERED,
        "reason": "",
        "detail": "",
        "attempts": 0,
        "rounds": 0,
        "request_id": None,
        "undecided_until": None,
        "registered_at": now,
        "decided_at": now,
        "due_at": None if row.desired else now,
    }


def _send_again(row: Registration, detail: str, now: datetime) -> Change:
    return {
        "state": RegistrationState.READY,
        "attempts": row.attempts + 1,
        "detail": detail,
        "request_id": None,
        "undecided_until": None,
        "maybe_held": held_before(row, now),
        "due_at": now + backoff(row.attempts),
    }


def _clean_again(now: datetime) -> Change:
    return {
        "state": RegistrationState.RETIRING,
        "request_id": None,
        "undecided_until": None,
        "cleaned_at": None,
        "due_at": now,
    }


def not_told(row: Registration, detail: str, now: datetime, patience: timedelta) -> Change:
    """CI-J did not say what became of it: ask again, but let nobody wait longer for the token than for a Pending."""
    pending = still_pending(row, now, patience)
    if "state" in pending:
        return pending
    change = try_again(row, detail, now)
    if row.cleaned_at is None and not row.desired:
        change["due_at"] = min(change["due_at"], row.desired_changed_at + patience)
    return change


def still_pending(row: Registration, now: datetime, patience: timedelta) -> Change:
    """Poll again later; clean up early where somebody waits for the token; send again when no outcome will come."""
    if row.cleaned_at is None and not row.desired and now >= row.desired_changed_at + patience:
        # The request id stays: it is asked about again after the cleanup, and cleaned up once more when decided.
        return {"state": RegistrationState.RETIRING, "due_at": now}
    if row.undecided_until is not None and now >= row.undecided_until:
        return _without_outcome(row, now)
    sent_at = row.sent_at or now
    poll = now + min(max((now - sent_at) / 2, FIRST_POLL), SLOWEST_POLL)
    if row.cleaned_at is None and not row.desired:
        poll = min(poll, row.desired_changed_at + patience)
    return {"due_at": poll}


def _without_outcome(row: Registration, now: datetime) -> Change:
    if row.cleaned_at is not None or not row.desired:
        return _clean_again(now)
    if row.rounds + 1 >= MAX_ROUNDS:
        return failed(row, FailureReason.UNKNOWN, "", now) | {"maybe_held": True, "rounds": 0}
    return {"state": RegistrationState.READY, "request_id": None, "rounds": row.rounds + 1, "due_at": now}


def cleanup_accepted(row: Registration, now: datetime, settling: timedelta) -> Change:
    """CI-J took the cleanup (202) and works it off later: the token is free after a settling time."""
    return {"cleaned_at": now, "attempts": 0, "detail": "", "due_at": now + settling}


def cleanup_over(row: Registration, detail: str, now: datetime) -> Change:
    """CI-J refused this one cleanup for good: it must not block the token's next owner."""
    return {"cleaned_at": now, "detail": detail, "due_at": now}


def settled(row: Registration, now: datetime) -> Change:
    """A cleanup's settling time is over: the token is free."""
    base: Change = {"maybe_held": False, "registered_at": None, "reason": ""}
    if row.request_id is not None:  # cleaned up early: its registration may still come to pass
        return base | {"state": RegistrationState.SENT, "due_at": now + FIRST_POLL}
    base |= {"undecided_until": None}
    if row.desired:
        return base | {"state": RegistrationState.READY, "cleaned_at": None, "due_at": now}
    # A send whose answer was lost may still be worked off: one more cleanup when its time is over, and at once after an
    # answer that came late.
    echo = row.unanswered_until if row.unanswered_until is not None and row.unanswered_until > now else None
    return base | {
        "state": RegistrationState.RETIRED,
        "unanswered_until": echo,
        "due_at": now if row.recheck else echo,
    }
