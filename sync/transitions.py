"""What becomes of a registration after each answer: pure functions, drawn in docs/states.md.

Each takes the row as it stands now (freshly locked) and returns the fields to write; `sync.policy` says where it goes.
`due_at` None means that nothing is left to do.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from registry.models import Registration
from registry.states import RegistrationState
from sync.clients.cij import Outcome, Status
from sync.policy import Reason, decide, reason_of

Change = dict[str, Any]


def accepted(row: Registration, request_id: Any, now: datetime) -> Change:
    """CI-J took the registration (202): ask for the outcome soon."""
    return {
        "state": RegistrationState.SENT,
        "request_id": request_id,
        "reason": "",
        "detail": "",
        "due_at": now + settings.TOKENHUB_FIRST_POLL,
    }


def refused(row: Registration, detail: str, now: datetime) -> Change:
    """CI-J refused this one registration (400) and takes others: it holds nothing of it."""
    return _follow(row, Reason.REFUSED, 0, detail, now)


def _follow(row: Registration, reason: Reason, attempt: int, detail: str, now: datetime) -> Change:
    """Nothing came of this attempt: fail for good, or send it again, as the policy says."""
    verdict = decide(reason, attempt)
    # Without an outcome CI-J may hold it all the same; any other answer says that this attempt stored nothing.
    held = reason is Reason.NO_OUTCOME or held_before(row)
    change: Change = {
        "state": verdict.state,
        "detail": detail,
        "request_id": None,
        "undecided_until": None,
        "maybe_held": held,
    }
    if reason is Reason.NO_OUTCOME:
        change["unanswered_until"] = row.undecided_until
    if verdict.failure is None:
        return change | {"attempts": row.attempts + 1, "due_at": now + (verdict.delay or timedelta(0))}
    done = row.desired and not (held and misplaced(row))
    return change | {
        "reason": verdict.failure.value,
        "decided_at": now,
        "cleaned_at": None,
        "due_at": None if done else now,
    }


def misplaced(row: Registration) -> bool:
    """Whether CI-J would hold the token as another platform's than it is."""
    return row.sent_platform not in ("", row.platform)


def held_before(row: Registration) -> bool:
    """Whether CI-J may hold the triple from before this attempt, which stored nothing: only a cleanup ends that.

    Also where the time of an unanswered send is over: it cannot come to pass any more, but may have done so.
    """
    return row.registered_at is not None or row.unanswered_until is not None


def unanswered(row: Registration, detail: str, now: datetime, patience: timedelta) -> Change:
    """The registration was sent and nobody knows whether it arrived: send it again, or clean it up once it had time."""
    change = try_again(row, detail, now)
    if not row.desired:
        change["due_at"] = max(change["due_at"], (row.sent_at or now) + patience)
    return change


def not_taken(row: Registration, detail: str, now: datetime) -> Change:
    """CI-J did not take the registration, and it is not the registration's fault: it holds no more than before."""
    return try_again(row, detail, now) | {"undecided_until": None, "maybe_held": held_before(row)}


def try_again(row: Registration, detail: str, now: datetime) -> Change:
    """No answer that decides anything: the same step again later. What may be held stays so."""
    wait = decide(Reason.NO_ANSWER, row.attempts).delay or timedelta(0)
    return {"attempts": row.attempts + 1, "detail": detail, "due_at": now + wait}


def confirmed(row: Registration, outcome: Outcome, now: datetime, patience: timedelta) -> Change:
    """The outcome of a tracked registration."""
    if outcome.status is Status.PENDING:
        return still_pending(row, now, patience)
    reason = Reason.SUCCESS if outcome.status is Status.SUCCESS else reason_of(outcome.reason)
    if row.cleaned_at is not None:
        # Cleaned up while it was undecided: which of the two came last is not known.
        return _clean_again(now)
    if decide(reason).state is RegistrationState.REGISTERED:
        return _held(row, now)
    return _follow(row, reason, row.attempts, outcome.reason, now)


def _held(row: Registration, now: datetime) -> Change:
    # A cleanup that was never answered may have come to pass after this: register once more when it cannot any longer.
    echo = row.cleanup_echo_until if row.cleanup_echo_until is not None and row.cleanup_echo_until > now else None
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
        "cleanup_echo_until": echo,
        "due_at": echo if row.desired and not misplaced(row) else now,
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
    poll = now + min(max((now - sent_at) / 2, settings.TOKENHUB_FIRST_POLL), settings.TOKENHUB_SLOWEST_POLL)
    if row.cleaned_at is None and not row.desired:
        poll = min(poll, row.desired_changed_at + patience)
    return {"due_at": poll}


def _without_outcome(row: Registration, now: datetime) -> Change:
    if row.cleaned_at is not None or not row.desired:
        return _clean_again(now)
    verdict = decide(Reason.NO_OUTCOME, row.rounds)
    if verdict.failure is None:
        return {"state": verdict.state, "request_id": None, "rounds": row.rounds + 1, "due_at": now}
    return _follow(row, Reason.NO_OUTCOME, row.rounds, "", now) | {"rounds": 0}


def cleanup_accepted(row: Registration, now: datetime, settling: timedelta) -> Change:
    """CI-J took the cleanup (202) and works it off later: the token is free after a settling time."""
    return {"cleaned_at": now, "cleanup_sent_at": None, "attempts": 0, "detail": "", "due_at": now + settling}


def cleanup_over(row: Registration, detail: str, now: datetime) -> Change:
    """CI-J refused this one cleanup for good: it must not block the token's next owner."""
    return {"cleaned_at": now, "cleanup_sent_at": None, "detail": detail, "due_at": now}


def settled(row: Registration, now: datetime) -> Change:
    """A cleanup's settling time is over: the token is free."""
    # A send whose answer was lost may still be worked off, or was while this cleanup settled: one more cleanup when its
    # time is over. What came to pass before is cleaned up by now.
    echo = row.unanswered_until
    if echo is not None and echo <= (row.cleaned_at or now):
        echo = None
    base: Change = {"maybe_held": False, "registered_at": None, "reason": "", "unanswered_until": echo}
    if row.request_id is not None:  # cleaned up early: its registration may still come to pass
        return base | {"state": RegistrationState.SENT, "due_at": now + settings.TOKENHUB_FIRST_POLL}
    base |= {"undecided_until": None}
    if row.desired:
        return base | {"state": RegistrationState.READY, "cleaned_at": None, "due_at": now}
    # At once after an answer that came late.
    return base | {"state": RegistrationState.RETIRED, "due_at": now if row.recheck else echo}
