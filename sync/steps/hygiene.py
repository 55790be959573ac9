"""Hygiene: retire what was not seen for too long, delete what is over for long. Hourly; makes no calls."""

from registry.services.hygiene import retire_stale
from registry.services.purge import purge


def run_batch() -> int:
    """Retire and delete a batch of each kind; return how many rows."""
    return retire_stale() + purge()
