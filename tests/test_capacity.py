"""The model of docs/scaling.md: it agrees with a simulated day, and the document says what it says."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.capacity import CHANGED, HALF, WORKER, need, simulate, table

DOCUMENT = (Path(__file__).parent.parent / "docs/scaling.md").read_text()


def test_the_document_has_the_tables_of_the_model() -> None:
    assert table() in DOCUMENT


@pytest.mark.parametrize("launches", [1e5, 1e6, 1e7, 1e8])
def test_an_installation_of_the_models_size_lasts_through_a_simulated_day(launches: float) -> None:
    day = simulate(need(launches))
    assert day.busiest_core <= HALF
    assert day.registered == pytest.approx(launches * CHANGED, rel=0.001)
    assert day.longest <= 60


def test_an_installation_that_is_too_small_does_not() -> None:
    size = need(4e9)
    day = simulate(replace(size, workers=1, web_cores=size.web_cores // 4))
    assert day.busiest_core > 1
    assert day.longest > 60


def test_a_backlog_is_over_when_the_narrowest_part_has_worked_it_off() -> None:
    size = need(1e6)
    day = simulate(size, backlog=size.devices)
    # One worker; the calls would allow 667 a second.
    assert day.over_after == pytest.approx(size.devices / WORKER, rel=0.05)
