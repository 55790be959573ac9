"""Tally: add what was noted of events to their sums, for reports. Makes no calls."""

from registry.services.event_counts import fold


def run_batch() -> int:
    """Add a batch of changes up; return how many."""
    return fold()
