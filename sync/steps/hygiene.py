"""Hygiene: retire what was not seen for too long, delete what is over for long. Hourly; makes no calls."""

from registry.services.hygiene import retire_stale
from registry.services.partitions import maintain_all
from registry.services.purge import purge


def run_batch() -> int:
    """Retire and delete a batch of each kind, make and drop partitions; return how many rows and partitions."""
    return retire_stale() + purge() + maintain_all()
