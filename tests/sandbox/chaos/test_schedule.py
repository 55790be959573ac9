"""What is done to the stack: repeatable, and never more than `up` bears."""

import pytest

from sandbox.chaos.drive import DEADLINE, HURRY, faults, fingerprint
from sandbox.chaos.operations import plan as plan_operations
from sandbox.chaos.schedule import CUTS, ENDS, MOST, WINDOW, Kind, plan

SEEDS = range(1, 40)


def test_the_same_seed_does_the_same() -> None:
    assert plan(1, 120) == plan(1, 120) != plan(2, 120)
    assert plan(1, 60) == [disturbance for disturbance in plan(1, 120) if disturbance.at < 60]


def test_the_first_75_seconds_have_one_of_each_and_nothing_comes_after_the_end() -> None:
    for seed in SEEDS:
        planned = plan(seed, 75)
        assert {disturbance.kind for disturbance in planned} == set(Kind)
        times = [disturbance.at for disturbance in planned]
        assert times == sorted(times)
        assert max(times) < 75


def test_no_child_ends_so_often_that_it_is_given_up() -> None:
    for seed in SEEDS:
        planned = plan(seed, 600)
        for disturbance in planned:
            window = [other for other in planned if 0 <= other.at - disturbance.at < WINDOW]
            ended = [child for other in window for child in ENDS.get(other.kind, ())]
            assert max((ended.count(child) for child in ended), default=0) <= MOST


def test_a_cut_and_a_fault_together_are_over_before_a_hand_over_stops_waiting() -> None:
    longest_cut = max(disturbance.lasts for seed in SEEDS for disturbance in plan(seed, 300))
    assert all(bool(disturbance.lasts) == (disturbance.kind in CUTS) for disturbance in plan(1, 300))
    longest_delay = max(
        max(step.action.delay, step.action.answer_delay)
        for seed in SEEDS
        for step in faults(seed, 60, [])
        if step.kind != "callback"
    )
    assert longest_delay > DEADLINE
    assert longest_cut + longest_delay < float(HURRY["TOKENHUB_HANDOVER_PATIENCE_SECONDS"]) - 2


def test_the_fault_script_of_a_seed_is_the_same_and_fails_no_token_for_good() -> None:
    steps = faults(1, 60, ["bad"])
    assert steps == faults(1, 60, ["bad"]) != faults(2, 60, ["bad"])
    poisoned = [step for step in steps if step.action.poison]
    assert [(step.token, step.times, step.lasts) for step in poisoned] == [("bad", None, None)]
    outcomes = {step.action.outcome for seed in SEEDS for step in faults(seed, 120, [])}
    assert outcomes == {None, "FailedToStoreDevice", "ApiTokenNotValid"}
    refused = [step for seed in SEEDS for step in faults(seed, 120, []) if step.action.status == 400]
    assert refused == []


@pytest.mark.parametrize("seed", [1, 2])
def test_the_fingerprint_tells_schedules_apart(seed: int) -> None:
    def of(number: int) -> str:
        households = [household.operations for household in plan_operations(number, 10, 60).households]
        return fingerprint(households, plan(number, 60), faults(number, 60, []))

    assert of(seed) == of(seed) != of(seed + 1)
