"""What is printed, and what must not be."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from sandbox.demo.compare import Handovers
from sandbox.demo.report import Display, Run, differences, show
from tests.sandbox.comparison import AGREEING

TOKEN = "a-secret-token-0123456789"


@pytest.fixture
def run() -> Run:
    return Run(
        comparison=AGREEING,
        events_reported=4,
        states={"p1": ("registered", "registered"), "p2": ("opted_out", "opted_out")},
        handovers=Handovers(count=5),
        surprises=[],
        results={"created": 2, "unchanged": 7},
        answers=40,
        retries=1,
        answer_times=[0.01, 0.02],
        registration_times=[1.0, 2.0],
        relay_times=[0.3, 0.4],
        started_in=3.0,
        fleet_took=10.0,
        settled_in=4.0,
        total=17.0,
    )


def differing(run: Run, **changes: object) -> Run:
    return dataclasses.replace(run, comparison=dataclasses.replace(AGREEING, **changes))  # type: ignore[arg-type]


def printed(run: Run) -> str:
    out = io.StringIO()
    show(Console(file=out, width=200), run, Path("var/demo/up.log"))
    return out.getvalue()


def told(run: Run) -> list[str]:
    return differences(run.comparison, run.handovers.violations, run.surprises)


def test_agreement_is_said_and_counted(run: Run) -> None:
    text = printed(run)
    assert run.agrees
    assert "Everything agrees after 17.0 s." in text
    for words in (
        "registrations",
        "events (4 sent)",
        "0 ghosts",
        "opted_out",
        "40 (4/s), 1 repeated",
        "p95 2.000 s",
        "accepted to relayed (2)",
        "p50 0.400 s",
    ):
        assert words in text
    assert "Logs" not in text


def test_a_disagreement_names_the_ends_of_tokens_and_the_log(run: Run) -> None:
    run = differing(run, missing={("anna", TOKEN)}, ghosts={("bert", TOKEN)}, states={"p1": ("registered", "pending")})
    text = printed(run)
    assert not run.agrees
    assert "Not everything agrees." in text
    assert "missing registration: user anna, token …456789" in text
    assert "ghost (held, but must not be): user bert, token …456789" in text
    assert "p1: expected registered, found pending" in text
    assert "var/demo/up.log" in text
    assert TOKEN not in text


def test_two_owners_at_once_and_surprises_are_disagreements_too(run: Run) -> None:
    owners = dataclasses.replace(run, handovers=Handovers(1, [TOKEN]))
    surprised = dataclasses.replace(run, surprises=["p: a repeated launch was updated"])
    assert not owners.agrees
    assert not surprised.agrees
    assert told(owners) == ["token that two owners held at once: …456789"]
    assert told(surprised) == ["surprising answer: p: a repeated launch was updated"]


def test_of_many_differences_some_are_shown(run: Run) -> None:
    lines = told(differing(run, events_missing={f"event-{number:02}" for number in range(25)}))
    assert len(lines) == 11
    assert lines[-1] == "event not relayed: … and 15 more"


def test_states_that_were_never_compared_are_mentioned(run: Run) -> None:
    assert "were not compared" in told(differing(run, states=None))[-1]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_terminals_and_in_plain_lines(terminal: bool) -> None:
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=terminal, width=120), 500) as display:
        display.say("the stack is ready")
        for done in (1, 2):
            display.update(done, dataclasses.replace(AGREEING, missing={("anna", "t")}))
    text = out.getvalue()
    assert "the stack is ready" in text
    assert "phones" in text
    if not terminal:
        assert text.count("phones 1/500, registrations 2/3 (and 0 not wanted any more), events 2/2") == 1
        assert "phones 2/500" not in text
