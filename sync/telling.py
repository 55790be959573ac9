"""How people are told of an alert: by e-mail, by webhook, each where it is set."""

import smtplib
import time
from collections.abc import Mapping

from django.conf import settings
from django.core.mail import EmailMessage

from registry.models import AlertEpisode, AlertMessage
from registry.states import AlertChannel, AlertEvent
from sync import connect
from sync.clients import webhook
from sync.clients.errors import RemoteError

WORDS: Mapping[str, str] = {AlertEvent.RAISED: "", AlertEvent.REMINDER: "still: ", AlertEvent.OVER: "over: "}


class NotTold(Exception):
    """A message was not delivered. The text is safe to store and to log."""


def channels() -> list[AlertChannel]:
    """The channels that are set."""
    found = [AlertChannel.EMAIL] if settings.TOKENHUB_ALERT_EMAILS and settings.TOKENHUB_EMAIL_URL else []
    return found + ([AlertChannel.WEBHOOK] if settings.TOKENHUB_ALERT_WEBHOOK_URL else [])


def tell(message: AlertMessage) -> None:
    """Deliver a message, once. Raises NotTold."""
    (_mail if message.channel == AlertChannel.EMAIL else _post)(message)


def _mail(message: AlertMessage) -> None:
    episode = message.episode
    mail = EmailMessage(
        f"[tokenhub] {title(message)}",
        _text(episode, message.event),
        settings.TOKENHUB_ALERT_FROM,
        settings.TOKENHUB_ALERT_EMAILS,
        headers={"Message-ID": f"<{message.pk}@tokenhub>", "Auto-Submitted": "auto-generated"},
    )
    try:
        mail.send(using="default")
    except smtplib.SMTPResponseException as error:
        # What the server says may quote the addresses.
        raise NotTold(f"the mail server answers {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        raise NotTold(f"the mail server refuses all recipients ({', '.join(map(str, codes))})") from None
    except (OSError, smtplib.SMTPException) as error:
        raise NotTold(f"the mail server: {type(error).__name__}") from None


def _post(message: AlertMessage) -> None:
    episode = message.episode
    payload = {
        "type": f"alert.{message.event}",
        "timestamp": message.created_at.isoformat(),
        "text": f"tokenhub {title(message)}\n{_text(episode, message.event)}",
        "data": {
            "id": episode.pk,
            "kind": episode.kind,
            "subject": episode.subject,
            "since": episode.since.isoformat(),
            "over_at": episode.over_at.isoformat() if episode.over_at else None,
            "what": episode.what,
            "to_do": episode.to_do,
            "version": settings.TOKENHUB_VERSION,
        },
    }
    url, secret = settings.TOKENHUB_ALERT_WEBHOOK_URL, settings.TOKENHUB_ALERT_WEBHOOK_SECRET
    try:
        webhook.post(connect.http(), url, secret, str(message.pk), int(time.time()), payload)
    except RemoteError as error:
        raise NotTold(f"the webhook: {error}") from None


def title(message: AlertMessage) -> str:
    """The message in one line."""
    return f"{WORDS[message.event]}{message.episode.kind}, {message.episode.subject}"


def _text(episode: AlertEpisode, event: str) -> str:
    since = f"Since {episode.since:%Y-%m-%d %H:%M} UTC"
    if event == AlertEvent.OVER and episode.over_at:
        return f"{since}, until {episode.over_at:%Y-%m-%d %H:%M} UTC.\nIt was: {episode.what}\n"
    return f"{since}: {episode.what}\n\n{episode.to_do}\n\ndocs/runbook.md says more of the kind {episode.kind}.\n"
