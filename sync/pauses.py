"""Rests that every worker keeps, in the database: never slept through, ended by a probe.

A gate is asked before anything is claimed. While a pause lasts nothing of its subject passes; when its time has
come one small request does, and only its success ends the pause. Failures without an answer are counted in the same
row, and open the circuit at the tenth in a row.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from registry.models import DataverseEnvironment, MobileApp, Pause
from registry.states import PauseReason
from sync import connect
from sync.clients.errors import Denied, Refused, RemoteError, Throttled

logger = logging.getLogger(__name__)

Subject = MobileApp | DataverseEnvironment
OPENS_AT = 10  # calls in a row without an answer
PROBE = timedelta(seconds=15)
SLOWEST_PROBE = timedelta(minutes=15)


@dataclass(frozen=True)
class Gate:
    """What may pass now: `limit` items in one call. `noted` is the pause or the count that there was."""

    subject: Subject
    limit: int
    noted: Pause | None = None

    def passed(self) -> None:
        """A call was answered well: the far end is there and takes our credentials."""
        if self.noted:
            # Only what this call has probed: a pause that another worker noted meanwhile stays.
            seen = {"pk": self.noted.pk, "reason": self.noted.reason, "failures": self.noted.failures}
            if Pause.objects.filter(**seen).delete()[0] and self.limit == 1:
                logger.info("%s resumed", self.subject)

    def stopped(self, error: RemoteError) -> None:
        """A call failed as a whole."""
        rest(self.subject, error)


def gate(subject: Subject, full: int) -> Gate:
    """How much may be claimed for the subject now: everything, one probe, or nothing."""
    if isinstance(subject, MobileApp) and connect.bucket(subject).is_empty():
        return Gate(subject, 0)
    pause = Pause.objects.filter(_of(subject), platform="").first()
    if pause is None:
        return Gate(subject, full)
    if pause.reason == PauseReason.UNAVAILABLE and pause.failures < OPENS_AT:
        return Gate(subject, full, pause)
    return Gate(subject, 1 if pause.until <= timezone.now() else 0, pause)


def rest(subject: Subject, error: RemoteError) -> None:
    """Note a failed call: pause at once, or count where there was no answer."""
    with transaction.atomic():
        pause = Pause.objects.select_for_update().filter(_of(subject), platform="").first() or _new(subject)
        reason, wait = _reason_and_wait(error, pause.failures + 1)
        # A throttled or misconfigured far end stays so, whatever else fails meanwhile.
        pause.failures = pause.failures + 1 if pause.reason in ("", reason) else 1
        pause.reason, pause.detail, pause.until = reason, str(error), timezone.now() + wait
        pause.save()
    if reason != PauseReason.UNAVAILABLE or pause.failures >= OPENS_AT:
        logger.warning("%s paused for %.0f s: %s (%s)", subject, wait.total_seconds(), reason.label, error)


def resume(subject: Subject) -> bool:
    """End every pause of the subject by hand. Returns whether there was one."""
    deleted, _ = Pause.objects.filter(_of(subject)).delete()
    if deleted:
        logger.info("%s resumed", subject)
    return bool(deleted)


def _of(subject: Subject) -> Q:
    return Q(app=subject) if isinstance(subject, MobileApp) else Q(environment=subject)


def _new(subject: Subject) -> Pause:
    if isinstance(subject, MobileApp):
        return Pause(app=subject, failures=0, reason="")
    return Pause(environment=subject, failures=0, reason="")


def _reason_and_wait(error: RemoteError, failures: int) -> tuple[PauseReason, timedelta]:
    if isinstance(error, Throttled):
        return PauseReason.THROTTLED, timedelta(seconds=error.retry_after)
    wait = min(PROBE * 2 ** min(failures - 1, 10), SLOWEST_PROBE)
    if isinstance(error, Denied):
        return PauseReason.CREDENTIALS, wait
    if isinstance(error, Refused):
        return PauseReason.CONFIGURATION, wait
    return PauseReason.UNAVAILABLE, PROBE
