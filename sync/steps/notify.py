"""Notify: tell people of alerts, once when one is raised, again after a time, once when it is over.

1. compare the alerts that are open with the episodes that are known; an alert has to be there for a while before it is
   told, and gone for a while before it counts as over, so that what comes and goes is one episode;
2. deliver what is due: claim a message, commit, send it, settle; what was not delivered is tried again later.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from registry.models import AlertEpisode, AlertMessage
from registry.services import clock
from registry.services.locking import in_transaction
from registry.states import AlertChannel, AlertEvent
from sync.alerts import Alert, open_alerts
from sync.telling import NotTold, channels, tell

logger = logging.getLogger(__name__)

FIRST_RETRY, SLOWEST_RETRY = timedelta(seconds=30), timedelta(hours=1)
GIVEN_UP = timedelta(days=3)  # after its making; who is told of it then has other worries
KEPT = timedelta(days=90)


def run_batch() -> int:
    """Look once, and deliver one message; return how many there were."""
    to = channels()
    if to:
        in_transaction(lambda: _look(to))
    message = in_transaction(_claim)
    if message is None:
        return 0
    _deliver(message)
    return 1


def _look(to: list[AlertChannel]) -> None:
    with connection.cursor() as cursor:
        # One looks at a time. Who comes second need not look, too.
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('tokenhub.alerts'))")
        if cursor.fetchone() != (True,):
            return
    now = clock.now()
    episodes = {(one.kind, one.subject): one for one in AlertEpisode.objects.filter(over_at__isnull=True)}
    for alert in open_alerts():
        _is_open(alert, episodes.pop((alert.kind.value, alert.subject), None), now, to)
    for episode in episodes.values():
        _is_missing(episode, now, to)
    AlertEpisode.objects.filter(over_at__lt=now - KEPT).delete()


def _is_open(alert: Alert, episode: AlertEpisode | None, now: datetime, to: list[AlertChannel]) -> None:
    if episode is None:
        episode = AlertEpisode(kind=alert.kind.value, subject=alert.subject, seen_at=now)
    episode.since, episode.what, episode.to_do = alert.since, alert.what, alert.to_do
    episode.missing_since = None
    event = None
    if episode.told_at is None:
        event = AlertEvent.RAISED if now - episode.seen_at >= settings.TOKENHUB_ALERT_PATIENCE else None
    elif settings.TOKENHUB_ALERT_REMINDER and now - episode.told_at >= settings.TOKENHUB_ALERT_REMINDER:
        event = AlertEvent.REMINDER
    if event is not None:
        episode.told_at = now
    episode.save()
    if event is not None:
        _announce(episode, event, to)


def _is_missing(episode: AlertEpisode, now: datetime, to: list[AlertChannel]) -> None:
    if episode.missing_since is None:
        episode.missing_since = now
        episode.save(update_fields=["missing_since"])
    elif now - episode.missing_since >= settings.TOKENHUB_ALERT_PATIENCE:
        if episode.told_at is None:
            episode.delete()
            return
        episode.over_at = episode.missing_since
        episode.save(update_fields=["over_at"])
        _announce(episode, AlertEvent.OVER, to)


def _announce(episode: AlertEpisode, event: AlertEvent, to: list[AlertChannel]) -> None:
    AlertMessage.objects.bulk_create(AlertMessage(episode=episode, event=event, channel=channel) for channel in to)


def _claim() -> AlertMessage | None:
    now = clock.now()
    due = AlertMessage.objects.filter(due_at__lte=now).order_by("due_at", "created_at")
    message = due.select_for_update(skip_locked=True).first()
    if message is not None:
        message.claim_no += 1
        message.due_at = now + settings.TOKENHUB_LEASE
        message.save(update_fields=["claim_no", "due_at"])
    return message


def _deliver(message: AlertMessage) -> None:
    change: dict[str, Any]
    try:
        tell(message)
        change = {"delivered_at": clock.now(), "due_at": None, "detail": ""}
    except NotTold as error:
        logger.warning("%s: not told by %s: %s", message.episode, message.channel, error)
        change = {"detail": str(error), "due_at": _again(message, clock.now())}
    ours = AlertMessage.objects.filter(pk=message.pk, claim_no=message.claim_no)
    ours.update(attempts=message.attempts + 1, **change)


def _again(message: AlertMessage, now: datetime) -> datetime | None:
    if now - message.created_at > GIVEN_UP:
        return None
    wait: timedelta = min(FIRST_RETRY * 2 ** min(message.attempts, 10), SLOWEST_RETRY)
    return now + wait
