"""Rests that every worker keeps: one row for an app or an environment, one probe when its time has come.

A pause is kept in the database and never slept through. While it lasts nothing of its subject is claimed; when
it is over one small request probes, and only its success ends the pause.
"""

import logging
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from registry.models import DataverseEnvironment, MobileApp, Pause
from registry.states import PauseReason
from sync.clients.errors import Denied, Refused, RemoteError, Throttled

logger = logging.getLogger(__name__)

Subject = MobileApp | DataverseEnvironment
PROBE = timedelta(seconds=15)
SLOWEST_PROBE = timedelta(minutes=15)


def allowance(subject: Subject, full: int) -> int:
    """How much may be claimed for it now: everything, one probe, or nothing."""
    pause = _of(subject).first()
    if pause is None:
        return full
    return 1 if pause.until <= timezone.now() else 0


def rest(subject: Subject, error: RemoteError) -> None:
    """Pause after `error`; each further failure makes the pause longer."""
    with transaction.atomic():
        pause = _of(subject).select_for_update().first() or Pause(**_key(subject), failures=0)
        pause.failures += 1
        pause.reason, wait = _reason_and_wait(error, pause.failures)
        pause.detail = str(error)
        pause.until = timezone.now() + wait
        pause.save()
    logger.warning("%s paused for %.0f s: %s (%s)", subject, wait.total_seconds(), pause.get_reason_display(), error)


def resume(subject: Subject) -> bool:
    """End the pause, after a success or by hand. Returns whether there was one."""
    deleted, _ = _of(subject).delete()
    if deleted:
        logger.info("%s resumed", subject)
    return bool(deleted)


def stops_everything(error: RemoteError) -> bool:
    """Whether nothing else of the same subject would fare better."""
    return isinstance(error, (Throttled, Denied))


def _key(subject: Subject) -> dict[str, Subject]:
    return {"app" if isinstance(subject, MobileApp) else "environment": subject}


def _of(subject: Subject):  # type: ignore[no-untyped-def]  # a QuerySet of Pause; the key's name varies
    return Pause.objects.filter(**_key(subject), platform="")


def _reason_and_wait(error: RemoteError, failures: int) -> tuple[PauseReason, timedelta]:
    if isinstance(error, Throttled):
        return PauseReason.THROTTLED, timedelta(seconds=error.retry_after)
    wait = min(PROBE * 2 ** min(failures - 1, 10), SLOWEST_PROBE)
    if isinstance(error, Denied):
        return PauseReason.CREDENTIALS, wait
    if isinstance(error, Refused):
        return PauseReason.CONFIGURATION, wait
    return PauseReason.UNAVAILABLE, PROBE
