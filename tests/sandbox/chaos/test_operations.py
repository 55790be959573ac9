"""What the phones do: repeatable, in order, and always such that the model can say what must be."""

import dataclasses

from sandbox.chaos.operations import FINAL, PASSING, What, plan

SEEDS = range(1, 10)


def test_the_same_seed_lives_the_same_lives() -> None:
    one, same, other = plan(1, 20, 60), plan(1, 20, 60), plan(2, 20, 60)
    assert dataclasses.asdict(one)["households"] == dataclasses.asdict(same)["households"]
    assert (one.outcomes, one.poisoned, one.directory.rows) == (same.outcomes, same.poisoned, same.directory.rows)
    assert one.households != other.households


def test_everything_that_a_phone_can_do_is_done() -> None:
    made = plan(1, 60, 120)
    assert {operation.what for household in made.households for operation in household.operations} == set(What)
    assert len(made.households) == 30
    assert made.operations > 500


def test_operations_are_in_order_and_begin_with_a_launch_of_each_phone() -> None:
    for seed in SEEDS:
        for household in plan(seed, 20, 60).households:
            times = [operation.at for operation in household.operations]
            assert times == sorted(times)
            first, second = household.operations[:2]
            assert [(first.what, first.phone), (second.what, second.phone)] == [(What.LAUNCH, 0), (What.LAUNCH, 1)]
            assert None not in (first.token, second.token)


def test_tokens_fail_in_every_way_and_most_succeed() -> None:
    made = plan(1, 200, 300)
    tokens = {operation.token for household in made.households for operation in household.operations}
    assert set(map(tuple, made.outcomes.values())) == {*PASSING, *FINAL}
    assert 0 < len(made.dead_tokens) < len(made.outcomes) < len(tokens) / 4
    assert all(made.outcomes[token] in map(list, FINAL) for token in made.dead_tokens)
    assert len(made.poisoned) == 2


def test_nobody_keeps_a_poisoned_token() -> None:
    for seed in SEEDS:
        made = plan(seed, 60, 120)
        for household in made.households:
            tokens = [operation.token for operation in household.operations[:2]]
            for operation in household.operations:
                if operation.what is What.CLAIM:
                    tokens[operation.phone] = tokens[1 - operation.phone]
                elif operation.token:
                    tokens[operation.phone] = operation.token
            assert not set(tokens) & set(made.poisoned)


def test_a_contact_is_merged_once_and_an_address_changes_once() -> None:
    for household in plan(1, 60, 300).households:
        done = [(operation.what, operation.user) for operation in household.operations]
        assert sum(what is What.MERGE for what, _ in done) <= 1
        changed = [user for what, user in done if what is What.NEW_EMAIL]
        assert len(changed) == len(set(changed))
        assert set(changed) <= household.emails.keys()
