"""Beat's scheduler: Celery's, which tells of an outage once instead of at each sweep, with its whole stack."""

import logging
from typing import Any

from celery.beat import PersistentScheduler

logger = logging.getLogger(__name__)


class Scheduler(PersistentScheduler):
    """Sends what is due; what could not be sent is due again, a period later."""

    _quiet = False

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send one task. Raises nothing: beat goes on without Valkey."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # noqa: BLE001 as Celery's own does: whatever it is, beat must not end
            if not self._quiet:
                logger.warning("sweeps wait until Valkey answers: %s", error)
            self._quiet = True
        else:
            if self._quiet:
                logger.info("sweeps are sent again")
            self._quiet = False
