"""What becomes of a row after each answer."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry.models import Registration
from sync import transitions
from sync.clients.cij import Outcome, Status

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
PATIENCE = timedelta(seconds=30)
SETTLING = timedelta(seconds=5)
REQUEST = uuid.UUID(int=1)


def row(**fields: Any) -> Registration:
    values = {
        "state": "sent",
        "platform": "android",
        "sent_platform": "android",
        "desired": True,
        "maybe_held": True,
        "request_id": REQUEST,
        "sent_at": NOW - timedelta(seconds=10),
        "desired_changed_at": NOW - timedelta(seconds=10),
        "undecided_until": NOW + timedelta(hours=24),
        **fields,
    }
    return Registration(**values)


def failed(reason: str) -> Outcome:
    return Outcome(Status.FAILED, reason)


PENDING = Outcome(Status.PENDING)
SUCCESS = Outcome(Status.SUCCESS)
EARLY_CLEANED = {"desired": False, "cleaned_at": NOW - timedelta(seconds=1)}


@pytest.mark.parametrize(
    ("before", "outcome", "after"),
    [
        ({}, SUCCESS, {"state": "registered", "due_at": None, "request_id": None}),
        ({}, failed("DuplicateExists"), {"state": "registered", "due_at": None}),
        ({"desired": False}, SUCCESS, {"state": "registered", "due_at": NOW}),
        ({}, failed(" DryRunSendingFailed "), {"state": "failed", "maybe_held": False, "due_at": None}),
        (
            {},
            failed("Sending a test invisible notification failed. Check the token."),
            {"state": "failed", "reason": "DryRunSendingFailed"},
        ),
        ({}, failed("DeviceTokenTooLong"), {"state": "failed", "reason": "DeviceTokenTooLong"}),
        ({"desired": False}, failed("DryRunSendingFailed"), {"state": "failed", "due_at": NOW}),
        ({}, failed("FailedToStoreDevice"), {"state": "ready", "maybe_held": False, "attempts": 1}),
        ({}, failed("ApiTokenNotValid"), {"state": "ready"}),
        ({}, failed("Provided API token is not valid"), {"state": "ready"}),
        ({}, failed("Something new"), {"state": "ready", "detail": "Something new"}),
        # Cleaned up while it was undecided: whatever the outcome, once more.
        (EARLY_CLEANED, SUCCESS, {"state": "retiring", "cleaned_at": None, "request_id": None, "due_at": NOW}),
        (EARLY_CLEANED, failed("DryRunSendingFailed"), {"state": "retiring"}),
        ({**EARLY_CLEANED, "desired": True}, SUCCESS, {"state": "retiring", "due_at": NOW}),
        ({**EARLY_CLEANED, "undecided_until": NOW}, PENDING, {"state": "retiring", "request_id": None}),
        # Pending: polled later, at half its age.
        ({}, PENDING, {"due_at": NOW + timedelta(seconds=5)}),
        ({"sent_at": NOW}, PENDING, {"due_at": NOW + timedelta(seconds=1)}),
        ({"sent_at": NOW - timedelta(hours=5)}, PENDING, {"due_at": NOW + timedelta(minutes=15)}),
        # Somebody waits for the token: polled until the patience ends, then cleaned up early, the request kept.
        ({"desired": False, "sent_at": NOW - timedelta(hours=5)}, PENDING, {"due_at": NOW + timedelta(seconds=20)}),
        ({"desired": False, "desired_changed_at": NOW - PATIENCE}, PENDING, {"state": "retiring", "due_at": NOW}),
        # Pending beyond the limit.
        ({"undecided_until": NOW}, PENDING, {"state": "ready", "rounds": 1, "due_at": NOW}),
        ({"undecided_until": NOW, "rounds": 2}, PENDING, {"state": "failed", "reason": "Unknown", "maybe_held": True}),
    ],
)
def test_what_an_outcome_makes_of_a_registration(
    before: dict[str, Any], outcome: Outcome, after: dict[str, Any]
) -> None:
    change = transitions.confirmed(row(**before), outcome, NOW, PATIENCE)
    assert {name: change[name] for name in after} == after


def test_an_early_cleanup_keeps_the_request_to_ask_about() -> None:
    change = transitions.still_pending(row(desired=False, desired_changed_at=NOW - PATIENCE), NOW, PATIENCE)
    assert "request_id" not in change


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"desired": False, "request_id": None, "undecided_until": None}, {"state": "retired", "due_at": None}),
        ({"desired": True, "request_id": None}, {"state": "ready", "due_at": NOW}),
        ({"desired": False}, {"state": "sent"}),  # cleaned up early: ask again
        (
            {"desired": False, "request_id": None, "unanswered_until": NOW + timedelta(hours=24)},
            {"state": "retired", "due_at": NOW + timedelta(hours=24)},  # an answer was lost: clean up once more
        ),
        (
            {
                "desired": False,
                "request_id": None,
                "cleaned_at": NOW - SETTLING,
                "unanswered_until": NOW - SETTLING / 2,
            },
            {"state": "retired", "due_at": NOW - SETTLING / 2},  # it may have come to pass after this cleanup
        ),
        (
            {"desired": True, "request_id": None, "cleaned_at": NOW, "unanswered_until": NOW - timedelta(hours=1)},
            {"state": "ready", "unanswered_until": None},
        ),
    ],
)
def test_a_settled_cleanup_frees_the_token(before: dict[str, Any], after: dict[str, Any]) -> None:
    change = transitions.settled(row(state="retiring", **before), NOW)
    assert change["maybe_held"] is False
    assert {name: change[name] for name in after} == after


@pytest.mark.parametrize("reason", ["DryRunSendingFailed", "FailedToStoreDevice", "ApiTokenNotValid"])
def test_a_failed_resend_does_not_forget_what_was_held_before(reason: str) -> None:
    earlier = row(registered_at=NOW - timedelta(days=31))
    assert transitions.confirmed(earlier, failed(reason), NOW, PATIENCE)["maybe_held"] is True
    lost = row(unanswered_until=NOW + timedelta(hours=1))
    assert transitions.confirmed(lost, failed(reason), NOW, PATIENCE)["maybe_held"] is True
    over = row(unanswered_until=NOW - timedelta(hours=1))
    assert transitions.confirmed(over, failed(reason), NOW, PATIENCE)["maybe_held"] is True
    assert transitions.confirmed(row(), failed(reason), NOW, PATIENCE)["maybe_held"] is False


def test_storing_that_fails_again_and_again_is_tried_less_and_less_often() -> None:
    change = transitions.confirmed(row(attempts=6), failed("FailedToStoreDevice"), NOW, PATIENCE)
    assert change["due_at"] > NOW + timedelta(seconds=20)
    assert "attempts" not in transitions.accepted(row(attempts=6), REQUEST, NOW)


def test_a_late_answer_while_the_cleanup_settles_has_it_cleaned_up_once_more() -> None:
    change = transitions.settled(row(state="retiring", desired=False, request_id=None, recheck=True), NOW)
    assert (change["state"], change["due_at"]) == ("retired", NOW)


def test_a_status_call_that_fails_lets_nobody_wait_longer_for_a_token() -> None:
    waiting = row(desired=False, attempts=50)
    assert transitions.not_told(waiting, "HTTP 500", NOW, PATIENCE)["due_at"] == NOW + timedelta(seconds=20)
    overdue = row(desired=False, desired_changed_at=NOW - PATIENCE)
    assert transitions.not_told(overdue, "HTTP 500", NOW, PATIENCE)["state"] == "retiring"


def test_a_registration_without_an_answer_is_given_time_before_it_is_cleaned_up() -> None:
    wanted = transitions.unanswered(row(), "x", NOW, PATIENCE)
    assert wanted["due_at"] < NOW + timedelta(seconds=2)
    unwanted = transitions.unanswered(row(desired=False), "x", NOW, PATIENCE)
    assert unwanted["due_at"] == NOW + timedelta(seconds=20)


def test_a_token_is_free_only_when_its_accepted_cleanup_had_time_to_settle() -> None:
    change = transitions.cleanup_accepted(row(state="retiring", desired=False), NOW, timedelta(seconds=5))
    assert (change["due_at"], change["cleaned_at"]) == (NOW + timedelta(seconds=5), NOW)
    assert "maybe_held" not in change
