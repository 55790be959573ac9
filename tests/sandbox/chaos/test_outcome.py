"""Hand-over times and races, from made-up journals."""

import itertools

import pytest

from sandbox.admin_client import Call, Effect
from sandbox.chaos.outcome import handover_times, races
from sandbox.demo.model import Episode

numbers = itertools.count(1)


def effect(kind: str, user: str, at: float, call: int = 0, token: str | None = "t") -> Effect:
    registered = kind == "register"
    outcome = "Success" if registered else "Removed"
    return Effect(next(numbers), at, kind, "app", user, token, outcome, None, registered, call, None)


def call(seq: int, at: float) -> Call:
    return Call(seq, at, "register_batch", "org", "app", 202, (), None)


ANNA, BERT = ("anna", "t"), ("bert", "t")


def test_a_hand_over_takes_from_the_answer_to_the_new_pair_being_held() -> None:
    episodes = [Episode(ANNA, 1.0, 10.0), Episode(BERT, 10.0)]
    effects = [effect("register", "anna", 2.0), effect("cleanup", "anna", 12.0), effect("register", "bert", 18.5)]
    assert handover_times(episodes, effects) == [8.5]


def test_the_first_owner_takes_nothing_over_and_neither_does_one_who_comes_back() -> None:
    episodes = [Episode(ANNA, 1.0, 10.0), Episode(ANNA, 20.0)]
    effects = [effect("register", "anna", 2.0), effect("cleanup", "anna", 12.0), effect("register", "anna", 22.0)]
    assert handover_times(episodes, effects) == []


def test_who_was_never_replaced_in_fact_is_no_hand_over() -> None:
    episodes = [Episode(ANNA, 1.0, 10.0), Episode(BERT, 10.0, 11.0), Episode(ANNA, 11.0)]
    effects = [effect("register", "anna", 2.0), effect("register", "anna", 13.0)]
    assert handover_times(episodes, effects) == []


def test_there_and_back_are_two() -> None:
    episodes = [Episode(ANNA, 1.0, 10.0), Episode(BERT, 10.0, 20.0), Episode(ANNA, 20.0)]
    effects = [effect("register", user, at) for user, at in (("anna", 2.0), ("bert", 16.0), ("anna", 29.0))]
    assert handover_times(episodes, effects) == [6.0, 9.0]


def test_what_is_no_longer_wanted_or_was_not_posted_has_no_time() -> None:
    effects = [effect("register", "anna", 2.0), effect("register", "bert", 16.0)]
    assert handover_times([Episode(ANNA, 1.0, 10.0), Episode(BERT, 10.0, 15.0)], effects) == []
    assert handover_times([Episode(ANNA, 1.0, 10.0), Episode(BERT, 10.0, posted=False)], effects) == []


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (("register", "anna", 1.0, 1.5), ("cleanup", "anna", 1.4, 1.9), ["t"]),
        (("cleanup", "anna", 1.0, 1.5), ("register", "anna", 1.4, 1.9), ["t"]),
        (("register", "anna", 1.0, 1.5), ("cleanup", "anna", 1.5, 1.9), []),
        (("register", "anna", 1.0, 1.5), ("register", "anna", 1.4, 1.9), []),
        (("register", "anna", 1.0, 1.5), ("cleanup", "bert", 1.4, 1.9), []),
    ],
)
def test_a_race_is_a_registration_and_a_cleanup_of_one_triple_in_the_air_together(
    first: tuple[str, str, float, float], second: tuple[str, str, float, float], found: list[str]
) -> None:
    calls = [call(1, first[2]), call(2, second[2])]
    effects = [effect(kind, user, at, number) for number, (kind, user, _, at) in enumerate((first, second), start=1)]
    assert races(calls, effects) == found


def test_a_race_with_the_one_before_the_last_is_seen() -> None:
    calls = [call(1, 1.0), call(2, 1.1), call(3, 1.3)]
    effects = [
        effect("register", "anna", 3.0, 1),
        effect("register", "anna", 1.2, 2),
        effect("cleanup", "anna", 2.0, 3),
    ]
    assert races(calls, effects) == ["t"]
