"""The runbook says what to do about everything that can be told at night."""

import re
from pathlib import Path

from registry.states import PauseReason
from sync.alerts import Kind

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()


def test_every_alert_is_in_the_table_and_has_words_on_what_to_do() -> None:
    in_table = set(re.findall(r"^\| `([a-z]\w+)`", RUNBOOK, re.MULTILINE))
    explained = set(re.findall(r"^\*\*(\w+)\.\*\*", RUNBOOK, re.MULTILINE))
    assert in_table == {kind.value for kind in Kind}
    assert explained == {kind.value for kind in Kind}


def test_every_reason_to_pause_has_a_line() -> None:
    assert set(re.findall(r"^\| `paused`: (\w+)", RUNBOOK, re.MULTILINE)) == set(PauseReason.values)


def test_every_alert_of_prometheus_has_a_line() -> None:
    rules = (ROOT / "deploy/prometheus/rules.yaml").read_text()
    raised = set(re.findall(r"- alert: (\w+)", rules))
    assert len(raised) > 10
    assert set(re.findall(r"^\| `(Tokenhub\w+)`", RUNBOOK, re.MULTILINE)) == raised
