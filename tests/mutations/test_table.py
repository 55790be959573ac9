"""The table fits the tree: `make mutations` takes out what it says, and runs tests that are there."""

from tests.mutations.protections import PROTECTIONS


def test_what_is_taken_out_stands_in_its_file_once_and_has_its_tests() -> None:
    assert [problem for row in PROTECTIONS for problem in row.problems()] == []


def test_no_protection_is_named_twice() -> None:
    names = [row.name for row in PROTECTIONS]
    assert len(names) == len(set(names))
