"""The table, the verdict, and what is said while waiting."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from sandbox.chaos.report import Result, progress, show
from sandbox.chaos.schedule import Kind
from tests.sandbox.comparison import AGREEING

TOKEN = "a-secret-token-0123456789"


@pytest.fixture
def result() -> Result:
    return Result(
        seed=7,
        duration=60.0,
        comparison=AGREEING,
        devices=5,
        operations=100,
        posts=120,
        repeated=9,
        calls_answered=80,
        calls_faulty=12,
        disturbances={Kind.WORKER: 2, Kind.FROZEN: 1},
        faults={"slow": 3, "closed after": 1},
        violations=[],
        races=[],
        handover_times=[6.0, 7.0, 30.5],
        settled_in=20.0,
        total=90.0,
    )


def changed(result: Result, **changes: object) -> Result:
    return dataclasses.replace(result, comparison=dataclasses.replace(AGREEING, **changes))  # type: ignore[arg-type]


def printed(result: Result) -> str:
    out = io.StringIO()
    show(Console(file=out, width=200), result, Path("var/chaos/up.log"))
    return out.getvalue()


def test_a_good_run_is_counted_and_says_so(result: Result) -> None:
    text = printed(result)
    assert result.agrees
    for words in (
        "100 (120 answers, 9 requests repeated)",
        "80 (12 calls went wrong on purpose)",
        "2 x worker killed",
        "1 x network cut (nothing comes back)",
        "0 of 3",
        "0 tokens held for two owners at once",
        "1 (allowed",
        "30.5 s",
        "7.0 s, of 3",
        "Good.",
        "make chaos SEED=7 DURATION=60",
    ):
        assert words in text
    assert "Logs" not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"missing": {("anna", TOKEN)}},
        {"ghosts": {("anna", TOKEN)}},
        {"events_missing": {"event-1"}},
        {"states": {"phone": ("registered", "pending")}},
        {"states": None},
    ],
    ids=str,
)
def test_every_difference_is_not_good_and_is_told_with_the_logs(result: Result, changes: dict[str, object]) -> None:
    bad = changed(result, **changes)
    text = printed(bad)
    assert not bad.agrees
    assert "Not good. The same again: make chaos SEED=7 DURATION=60" in text
    assert "var/chaos/up.log" in text
    assert TOKEN not in text


def test_a_token_with_two_owners_is_not_good(result: Result) -> None:
    bad = dataclasses.replace(result, violations=[TOKEN])
    assert not bad.agrees
    assert "token that two owners held at once: …456789" in printed(bad)


def test_a_run_without_hand_overs_or_kills_can_be_told_of_too(result: Result) -> None:
    text = printed(dataclasses.replace(result, handover_times=[], disturbances={}))
    assert "none" in text


def test_while_phones_live_it_is_counted_and_then_what_is_missing_is_named() -> None:
    lost = dataclasses.replace(AGREEING, missing={("anna", TOKEN)}, ghosts={("bert", TOKEN)})
    living, waiting = progress(5, 10, lost), progress(10, 10, lost)
    assert living.startswith("operations 5/10; CI-J holds 2 of 3 that it must, and 1 that it must not; events 2/2")
    assert "waiting" not in living
    assert "waiting for: missing registration: user anna, token …456789; ghost" in waiting
    assert "only has to stay so" in progress(10, 10, AGREEING)
