"""Figures: what the dashboard and the rates of opens need, added up from the history and counted from the tables."""

from registry.services.event_counts import count_registered
from registry.services.figures import add_up, count_tables
from registry.services.locking import in_transaction


def run_batch() -> int:
    """Add up a batch of the history, and count where it is time to; return how many entries there were."""
    in_transaction(count_tables)
    count_registered()
    return in_transaction(add_up)
