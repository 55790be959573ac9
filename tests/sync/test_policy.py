"""The table of the policy, row by row."""

from datetime import timedelta

import pytest

from registry.states import FailureReason, RegistrationState
from sync.policy import TABLE, Reason, Who, backoff, decide, reason_of

READY, FAILED, REGISTERED = RegistrationState.READY, RegistrationState.FAILED, RegistrationState.REGISTERED
SOON = "soon"  # the back-off of the attempt


@pytest.mark.parametrize(
    ("reason", "attempt", "state", "delay", "who", "failure"),
    [
        (Reason.SUCCESS, 0, REGISTERED, None, Who.NOBODY, None),
        (Reason.DUPLICATE, 0, REGISTERED, None, Who.NOBODY, None),
        (Reason.DRY_RUN, 0, FAILED, None, Who.PHONE, FailureReason.DRY_RUN),
        (Reason.DRY_RUN, 9, FAILED, None, Who.PHONE, FailureReason.DRY_RUN),
        (Reason.TOO_LONG, 0, FAILED, None, Who.DEVELOPER, FailureReason.TOKEN_TOO_LONG),
        (Reason.NOT_STORED, 0, READY, SOON, Who.NOBODY, None),
        (Reason.NOT_STORED, 1000, READY, SOON, Who.NOBODY, None),
        (Reason.API_TOKEN, 0, READY, SOON, Who.CIJ, None),
        (Reason.API_TOKEN, 1000, READY, SOON, Who.CIJ, None),
        (Reason.OTHER, 0, READY, SOON, Who.NOBODY, None),
        (Reason.NO_ANSWER, 0, READY, SOON, Who.NOBODY, None),
        (Reason.NO_ANSWER, 1000, READY, SOON, Who.NOBODY, None),
        (Reason.REFUSED, 0, FAILED, None, Who.DEVELOPER, FailureReason.REFUSED),
        (Reason.REFUSED_ALONE, 0, READY, SOON, Who.NOBODY, None),
        (Reason.REFUSED_ALONE, 4, READY, SOON, Who.NOBODY, None),
        (Reason.REFUSED_ALONE, 5, FAILED, None, Who.DEVELOPER, FailureReason.REFUSED),
        (Reason.NO_OUTCOME, 0, READY, timedelta(0), Who.NOBODY, None),
        (Reason.NO_OUTCOME, 1, READY, timedelta(0), Who.NOBODY, None),
        (Reason.NO_OUTCOME, 2, FAILED, None, Who.CIJ, FailureReason.UNKNOWN),
    ],
)
def test_what_follows_from_a_reason(
    reason: Reason,
    attempt: int,
    state: RegistrationState,
    delay: timedelta | str | None,
    who: Who,
    failure: FailureReason | None,
) -> None:
    verdict = decide(reason, attempt)
    assert (verdict.state, verdict.who, verdict.failure) == (state, who, failure)
    if delay == SOON:
        assert verdict.delay is not None
        assert 0.5 < verdict.delay / backoff(attempt) < 2
    else:
        assert verdict.delay == delay


def test_every_reason_has_its_row_and_every_failure_names_what_a_person_does() -> None:
    assert set(TABLE) == set(Reason)
    failures = {row.failure for rows in TABLE.values() for row in rows if row.state is FAILED}
    assert failures == set(FailureReason)
    assert all(row.who is not Who.NOBODY for rows in TABLE.values() for row in rows if row.state is FAILED)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("DuplicateExists", Reason.DUPLICATE),
        (" DryRunSendingFailed ", Reason.DRY_RUN),
        ("DryRun SendingFailed", Reason.DRY_RUN),
        ("Sending a test invisible notification failed. Check the token.", Reason.DRY_RUN),
        ("DeviceTokenTooLong", Reason.TOO_LONG),
        ("FailedToStoreDevice", Reason.NOT_STORED),
        ("ApiTokenNotValid", Reason.API_TOKEN),
        ("Provided API token is not valid", Reason.API_TOKEN),
        ("", Reason.OTHER),
        ("Success", Reason.OTHER),
        ("Something new", Reason.OTHER),
    ],
)
def test_reasons_are_read_leniently(text: str, reason: Reason) -> None:
    assert reason_of(text) is reason


def test_transport_errors_back_off_from_one_to_thirty_seconds_then_to_fifteen_minutes() -> None:
    delays = [backoff(attempt).total_seconds() for attempt in range(60)]
    assert 0.75 <= delays[0] <= 1.25
    assert all(22 <= delay <= 38 for delay in delays[6:20])
    assert sum(delays[:24]) == pytest.approx(600, rel=0.3)
    assert all(800 <= delay <= 1000 for delay in delays[30:])
