"""What follows from an answer about a registration, or from its absence: one table, reason by attempt.

The reasons and what they mean: MicrosoftDocs/customer-insights, developer-push-device-registration.md and its
troubleshooting article. `sync.transitions` makes fields of a row of what is decided here.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings

from registry.states import FailureReason, RegistrationState

READY, FAILED, REGISTERED = RegistrationState.READY, RegistrationState.FAILED, RegistrationState.REGISTERED


class Reason(StrEnum):
    """What an answer says of a registration. CI-J's own reasons have its own names."""

    SUCCESS = "Success"
    DUPLICATE = "DuplicateExists"
    DRY_RUN = "DryRunSendingFailed"
    TOO_LONG = "DeviceTokenTooLong"
    NOT_STORED = "FailedToStoreDevice"
    API_TOKEN = "ApiTokenNotValid"  # noqa: S105 CI-J's word
    OTHER = "a reason that is not documented"
    NO_ANSWER = "no answer, a 5xx, or one that makes no sense"
    REFUSED = "400, while most others of its batch passed"
    REFUSED_ALONE = "400, with nothing to compare it with"
    NO_OUTCOME = "Pending beyond the limit"


class Who(StrEnum):
    """Who has to act before it goes on."""

    NOBODY = "nobody: it is tried again, or done"
    PHONE = "nobody: the phone's next token is registered"
    DEVELOPER = "the app's developers"
    CIJ = "who administers Customer Insights - Journeys"


@dataclass(frozen=True)
class Verdict:
    """Where a registration goes, and after which delay it is this state's turn; None: it rests there."""

    state: RegistrationState
    delay: timedelta | None
    who: Who
    failure: FailureReason | None = None


@dataclass(frozen=True)
class _Row:
    state: RegistrationState
    delay: Callable[[int], timedelta | None]
    who: Who = Who.NOBODY
    failure: FailureReason | None = None
    before: str = ""  # holds for attempts below this setting's value; "" for all


def backoff(attempts: int) -> timedelta:
    """Delay before attempt number `attempts` + 1: 1 s doubling to 30 s with jitter; after about ten minutes 15 min.

    Never given up: the far end comes back some day.
    """
    longest: timedelta = settings.TOKENHUB_SLOWEST_RETRY
    # The first few are shorter, so that this many take about so long.
    if attempts * longest * 5 / 6 > settings.TOKENHUB_RETRY_SLOW_AFTER:
        slow: timedelta = settings.TOKENHUB_RETRY_SLOW * random.uniform(0.9, 1.1)  # noqa: S311 jitter, not a secret
        return slow
    doubled: timedelta = settings.TOKENHUB_RETRY * 2 ** min(attempts, 20)
    return min(longest, doubled) * random.uniform(0.75, 1.25)  # noqa: S311


def _later(attempts: int) -> timedelta:
    return backoff(attempts)


def _at_once(attempts: int) -> timedelta:
    return timedelta(0)


def _never(attempts: int) -> None:
    return None


TABLE: dict[Reason, Sequence[_Row]] = {
    Reason.SUCCESS: [_Row(REGISTERED, _never)],
    # Most likely this app, user and token are registered already: that is what was wanted.
    Reason.DUPLICATE: [_Row(REGISTERED, _never)],
    # One token: it is dead. Many in a row: the app's push credentials in CI-J are (sync.waves).
    Reason.DRY_RUN: [_Row(FAILED, _never, Who.PHONE, FailureReason.DRY_RUN)],
    Reason.TOO_LONG: [_Row(FAILED, _never, Who.DEVELOPER, FailureReason.TOKEN_TOO_LONG)],
    Reason.NOT_STORED: [_Row(READY, _later)],
    # Pauses the app besides (sync.pauses).
    Reason.API_TOKEN: [_Row(READY, _later, Who.CIJ)],
    # Whatever Microsoft may add: nothing says that it would fail for ever.
    Reason.OTHER: [_Row(READY, _later)],
    Reason.NO_ANSWER: [_Row(READY, _later)],
    Reason.REFUSED: [_Row(FAILED, _never, Who.DEVELOPER, FailureReason.REFUSED)],
    Reason.REFUSED_ALONE: [
        _Row(READY, _later, before="TOKENHUB_LONE_REFUSALS"),
        _Row(FAILED, _never, Who.DEVELOPER, FailureReason.REFUSED),
    ],
    # Attempts are rounds here.
    Reason.NO_OUTCOME: [
        _Row(READY, _at_once, before="TOKENHUB_PENDING_ROUNDS"),
        _Row(FAILED, _never, Who.CIJ, FailureReason.UNKNOWN),
    ],
}


def decide(reason: Reason, attempt: int = 0) -> Verdict:
    """What follows from `reason` where `attempt` attempts came before this one."""
    row = next(row for row in TABLE[reason] if not row.before or attempt < _limit(row.before))
    return Verdict(row.state, row.delay(attempt), row.who, row.failure)


def _limit(setting: str) -> int:
    # The attempt that is being judged is one of them.
    value: Any = getattr(settings, setting)
    return int(value) - 1


def reason_of(text: str) -> Reason:
    """CI-J's failure reason, without the blanks and sentences that it has been documented with."""
    squeezed = "".join(text.split()).lower()
    for reason in (Reason.DUPLICATE, Reason.DRY_RUN, Reason.TOO_LONG, Reason.NOT_STORED, Reason.API_TOKEN):
        if reason.lower() in squeezed:
            return reason
    if "testinvisiblenotification" in squeezed:
        return Reason.DRY_RUN
    if "apitoken" in squeezed and "notvalid" in squeezed:
        return Reason.API_TOKEN
    return Reason.OTHER
