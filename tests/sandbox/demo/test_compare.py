"""Differences, hand-overs, and times, from made-up journals."""

import itertools

from sandbox.admin_client import Effect, Event
from sandbox.demo.compare import Comparison, compare, handovers, percentile, registration_times, relay_times
from sandbox.demo.model import Episode

numbers = itertools.count(1)


def registered(user: str, token: str = "t", at: float = 0.0, outcome: str = "Success", *, held: bool = True) -> Effect:
    return Effect(next(numbers), at, "register", "app", user, token, outcome, None, held, 1, None)


def cleaned(user: str, token: str | None = "t") -> Effect:
    return Effect(next(numbers), 0.0, "cleanup", "app", user, token, "Removed", None, False, 1, None)


def event(tracking_id: str, token: str = "t", at: float = 0.0) -> Event:
    return Event(next(numbers), at, "org", tracking_id, token, 1)


def nothing_but(**changes: object) -> Comparison:
    pairs = {("anna", "t")}
    return compare(
        **{"expected": pairs, "held": pairs, "events": {"e": "t"}, "received": [event("e")], "states": {}} | changes  # type: ignore[arg-type]
    )


def test_what_is_the_same_agrees() -> None:
    found = nothing_but(states={"p": ("registered", "registered")})
    assert (found.agrees, found.distance, found.expected, found.events_relayed) == (True, 0, 1, 1)


def test_states_that_were_not_asked_for_do_not_agree_yet() -> None:
    found = nothing_but(states=None)
    assert (found.agrees, found.distance) == (False, 0)


def test_every_difference_counts() -> None:
    cases = [
        nothing_but(held=set()),
        nothing_but(held={("anna", "t"), ("bert", "t")}),
        nothing_but(received=[]),
        nothing_but(received=[event("e"), event("other")]),
        nothing_but(states={"p": ("registered", "pending")}),
    ]
    assert [(found.distance, found.agrees) for found in cases] == [(1, False)] * 5
    assert cases[0].missing == {("anna", "t")}
    assert cases[1].ghosts == {("bert", "t")}
    assert cases[2].events_missing == {"e"}
    assert cases[3].events_foreign == {"other"}


def test_an_event_with_another_token_is_missing_and_foreign() -> None:
    found = nothing_but(received=[event("e", "wrong")])
    assert (found.events_missing, found.events_foreign) == ({"e"}, {"e"})


def test_a_doubled_event_is_counted_and_forgiven() -> None:
    found = nothing_but(received=[event("e"), event("e"), event("e")])
    assert (found.events_doubled, found.agrees) == (2, True)


def test_a_clean_hand_over_is_one_and_no_violation() -> None:
    found = handovers([registered("anna"), cleaned("anna"), registered("bert"), cleaned("bert"), registered("anna")])
    assert (found.count, found.violations) == (2, [])


def test_a_token_that_two_owners_hold_at_once_is_a_violation() -> None:
    found = handovers([registered("anna"), registered("bert"), cleaned("anna"), registered("cleo", "t2")])
    assert (found.count, found.violations) == (1, ["t"])


def test_what_was_never_held_hands_nothing_over() -> None:
    found = handovers([registered("anna", outcome="Failed", held=False), registered("bert"), cleaned("x", None)])
    assert (found.count, found.violations) == (0, [])


def test_the_time_runs_from_the_post_to_the_first_success_after_it() -> None:
    episodes = [Episode(("anna", "t"), 10.0, 20.0), Episode(("anna", "t"), 30.0), Episode(("bert", "t"), 5.0)]
    effects = [registered("anna", at=9.0), registered("anna", at=12.0), registered("anna", at=31.5)]
    assert registration_times(episodes, effects) == [1.5, 2.0]


def test_what_came_too_late_or_failed_has_no_time() -> None:
    late = registered("anna", at=25.0)
    duplicate = registered("anna", at=12.0, outcome="Failed")
    assert registration_times([Episode(("anna", "t"), 10.0, 20.0)], [duplicate, late]) == []


def test_the_time_of_an_event_runs_from_its_answer_until_ci_j_first_had_it() -> None:
    received = [event("a", at=12.5), event("b", at=10.25), event("a", at=11.0), event("foreign", at=9.0)]
    received.append(event("quick", at=9.9))
    assert relay_times({"a": 10.0, "b": 10.0, "missing": 10.0, "quick": 10.0}, received) == [0.0, 0.25, 1.0]


def test_percentiles_of_few_and_of_no_values() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([1.0], 0.95) == 1.0
    assert percentile([float(number) for number in range(100)], 0.95) == 95.0
