"""A wave of failed dry runs: not the tokens are wrong, the app's push credentials in CI-J are.

One token whose test message fails is a dead token. Many in a row on one platform of an app, and no success between
them, are expired credentials, however slowly they come: then that platform rests, what failed since the last success is
queued again, and one registration at a time probes until one succeeds. The count is kept in the platform's pause row.
"""

import logging
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from registry.models import MobileApp, Pause, Registration
from registry.services import clock
from registry.states import FailureReason, PauseReason, Platform, RegistrationState
from sync.pauses import locked, probe_after

logger = logging.getLogger(__name__)

_BY_HAND = Q(reason=PauseReason.BY_HAND)


def lane(app: MobileApp, limit: int) -> tuple[list[str], int]:
    """Which platforms may be registered for now, and how many at once: those that are open, or one probe."""
    rests = Q(failures__gte=settings.TOKENHUB_DRY_RUN_WAVE) | _BY_HAND
    closed = list(Pause.objects.filter(rests, app=app, platform__gt=""))
    for pause in closed:
        if pause.reason == PauseReason.BY_HAND:
            continue  # a person ends it
        # Taken by whoever moves the time on first: one probe, however many workers look.
        due = Pause.objects.filter(pk=pause.pk, until=pause.until, until__lte=clock.now())
        if limit and due.update(until=clock.now() + settings.TOKENHUB_PROBE):
            return [pause.platform], 1
    return [value for value in Platform.values if value not in {pause.platform for pause in closed}], limit


def heed(app: MobileApp, decided: Iterable[Registration]) -> None:
    """Look at registrations that were just decided: count failed dry runs, or end a wave by a success."""
    rows = list(decided)
    for platform in Platform.values:
        states = [(row.state, row.reason) for row in rows if row.sent_platform == platform]
        failures = states.count((RegistrationState.FAILED, FailureReason.DRY_RUN))
        if any(state == RegistrationState.REGISTERED for state, _ in states):
            _over(app, platform)
        elif failures:
            first = min(row.decided_at for row in rows if row.decided_at and row.state == RegistrationState.FAILED)
            _count(app, platform, failures, first)


def _over(app: MobileApp, platform: str) -> None:
    pause = Pause.objects.filter(~_BY_HAND, app=app, platform=platform).first()
    if pause and pause.delete()[0] and pause.failures >= settings.TOKENHUB_DRY_RUN_WAVE:
        logger.info("%s resumed on %s", app, platform)


def _count(app: MobileApp, platform: str, failures: int, first: datetime) -> None:
    wave = settings.TOKENHUB_DRY_RUN_WAVE
    with transaction.atomic():
        pause = locked(app, platform)
        if pause.reason == PauseReason.BY_HAND:
            return
        if not pause.pk:
            pause.created_at = first
        was_open = pause.failures < wave
        pause.failures += failures
        pause.reason = PauseReason.DRY_RUN
        pause.detail = f"{pause.failures} test messages failed in a row"
        pause.until = clock.now() + probe_after(pause.failures // wave + 1)
        pause.save()
        if pause.failures < wave:
            return
        # Decided and idle, so nobody holds them: every token is kept and tried again when the wave is over.
        Registration.objects.filter(
            app=app,
            platform=platform,
            desired=True,
            state=RegistrationState.FAILED,
            reason=FailureReason.DRY_RUN,
            in_flight=False,
            decided_at__gte=pause.created_at,
        ).update(state=RegistrationState.READY, due_at=clock.now(), claim_no=F("claim_no") + 1)
    if was_open:
        logger.warning("%s paused on %s: %s", app, platform, pause.detail)
