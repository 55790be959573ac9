"""`manage.py sync_status`: what needs a person, how many registrations in each state, what waits, what is paused."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from registry.management.base import JsonCommand, app_by_slug
from registry.models import MobileApp
from sync.alerts import open_alerts
from sync.status import app_status


class Command(JsonCommand):
    help = (
        "Show what needs a person now, and the queues of every app: what is in which state, how long the oldest waits, "
        "what is paused and why."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", help="only this app's queues (its slug); alerts are shown of all")
        parser.add_argument("--fail-on-alert", action="store_true", help="exit with 1 where anything needs a person")

    def act(self, **options: Any) -> dict[str, Any]:
        chosen = [app_by_slug(options["app"])] if options["app"] else MobileApp.objects.order_by("slug")
        self.alerts = [asdict(alert) for alert in open_alerts()]
        return {"alerts": self.alerts, "apps": [asdict(app_status(app)) for app in chosen]}

    def say(self, result: dict[str, Any]) -> str:
        apps = "\n\n".join(map(_words, result["apps"])) or "No apps yet: manage.py create_app makes one."
        return "".join(map(_alert, result["alerts"])) + apps

    def handle(self, *args: Any, **options: Any) -> str:
        words = super().handle(*args, **options)
        if options["fail_on_alert"] and self.alerts:
            self.stdout.write(words)
            raise CommandError(f"{len(self.alerts)} alerts are open.")
        return words


def _alert(alert: dict[str, Any]) -> str:
    since = alert["since"].isoformat(timespec="seconds")
    return f"ALERT {alert['kind']}, {alert['subject']}, since {since}: {alert['what']}\n  {alert['to_do']}\n"


def _replaced(slug: str, replaced: dict[str, Any]) -> str:
    at = replaced["replaced_at"].isoformat(timespec="seconds")
    left = f"{replaced['registrations_left']} registrations to clean up, {replaced['events_left']} events to relay"
    over = f"done since {replaced['over_at'].isoformat(timespec='seconds')}" if replaced["over_at"] else left
    note = f"; {replaced['written_off']} registrations written off: {replaced['note']}" if replaced["note"] else ""
    return f"{slug}: connection of {replaced['by']} until {at}: {over}{note}"


def _words(status: dict[str, Any]) -> str:
    replaced = status["replaced"]
    lines = [_replaced(status["app"], replaced) if replaced else f"{status['app']}: {status['devices']} active devices"]
    for queue in ("registrations", "events") if replaced else ("mappings", "registrations", "events"):
        counts = ", ".join(f"{count} {state}" for state, count in status[queue].items() if count)
        lines.append(f"  {queue:<14}{counts or 'none'}")
    waiting = ", ".join(f"{step} {age:.0f} s" for step, age in status["oldest_due"].items() if age is not None)
    lines.append(f"  {'oldest due':<14}{waiting or 'nothing waits'}")
    if status["shared_installations"]:
        lines.append(f"  {'shared ids':<14}{status['shared_installations']} installation ids are posted by two phones")
    for pause in status["pauses"]:
        platform = f" ({pause['platform']})" if pause["platform"] else ""
        probe = f", next probe {pause['next_probe']}" if pause["next_probe"] else ""
        lines.append(
            f"  PAUSED        {pause['subject']}{platform}: {pause['reason']} [{pause['detail']}] "
            f"since {pause['since']}{probe}"
        )
    return "\n".join(lines)
