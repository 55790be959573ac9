"""Figures: what the dashboard shows, added up from the history and counted from the tables now and then."""

from registry.services.figures import add_up, count_tables
from registry.services.locking import in_transaction


def run_batch() -> int:
    """Add up a batch of the history, and count where it is time to; return how many entries there were."""
    in_transaction(count_tables)
    return in_transaction(add_up)
