"""`manage.py test_alerts`: see before the first night whether alerts reach anybody."""

from typing import Any

from django.core.management.base import CommandError

from registry.management.base import JsonCommand
from registry.models import AlertEpisode, AlertMessage
from registry.services import clock
from registry.states import AlertEvent
from sync.telling import NotTold, channels, tell


class Command(JsonCommand):
    help = "Send a test alert by each channel that is set (TOKENHUB_ALERT_…), now, and say how it went."

    def act(self, **options: Any) -> dict[str, Any]:
        if not channels():
            raise CommandError(
                "Nobody is told of alerts: set TOKENHUB_ALERT_EMAILS with TOKENHUB_EMAIL_URL, or "
                "TOKENHUB_ALERT_WEBHOOK_URL with TOKENHUB_ALERT_WEBHOOK_SECRET."
            )
        now = clock.now()
        episode = AlertEpisode(
            pk=0, kind="test", subject="manage.py test_alerts", since=now, what="Somebody tries out how alerts arrive.",
            to_do="Nobody has to do anything.",
        )  # fmt: skip
        results = {}
        for channel in channels():
            message = AlertMessage(episode=episode, event=AlertEvent.RAISED, channel=channel, created_at=now)
            try:
                tell(message)
                results[channel.value] = "delivered"
            except NotTold as error:
                results[channel.value] = str(error)
        if any(result != "delivered" for result in results.values()):
            raise CommandError(self.say(results))
        return results

    def say(self, result: dict[str, Any]) -> str:
        return "\n".join(f"{channel}: {outcome}" for channel, outcome in result.items())
