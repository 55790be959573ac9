"""What the demo and the chaos run print when all is well."""

from sandbox.demo.compare import Comparison

AGREEING = Comparison(
    expected=3,
    held=3,
    missing=set(),
    ghosts=set(),
    events_expected=2,
    events_relayed=2,
    events_missing=set(),
    events_foreign=set(),
    events_doubled=1,  # relaying is at least once
    states={},
)
