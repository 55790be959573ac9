"""`manage.py sync_status`: how many registrations in each state, how old the oldest due one is, what is paused."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, app_by_slug
from registry.models import MobileApp
from sync.status import app_status


class Command(JsonCommand):
    help = "Show the queues of every app: what is in which state, how long the oldest waits, what is paused and why."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", help="only this app (its slug)")

    def act(self, **options: Any) -> dict[str, Any]:
        chosen = [app_by_slug(options["app"])] if options["app"] else MobileApp.objects.order_by("slug")
        return {"apps": [asdict(app_status(app)) for app in chosen]}

    def say(self, result: dict[str, Any]) -> str:
        return "\n\n".join(map(_words, result["apps"])) or "No apps yet: manage.py create_app makes one."


def _words(status: dict[str, Any]) -> str:
    lines = [f"{status['app']}: {status['devices']} active devices"]
    for queue in ("mappings", "registrations", "events"):
        counts = ", ".join(f"{count} {state}" for state, count in status[queue].items() if count)
        lines.append(f"  {queue:<14}{counts or 'none'}")
    waiting = ", ".join(f"{step} {age:.0f} s" for step, age in status["oldest_due"].items() if age is not None)
    lines.append(f"  {'oldest due':<14}{waiting or 'nothing waits'}")
    if status["shared_installations"]:
        lines.append(f"  {'shared ids':<14}{status['shared_installations']} installation ids are posted by two phones")
    for pause in status["pauses"]:
        platform = f" ({pause['platform']})" if pause["platform"] else ""
        lines.append(
            f"  PAUSED        {pause['subject']}{platform}: {pause['reason']} [{pause['detail']}] "
            f"since {pause['since']}, next probe {pause['next_probe']}"
        )
    return "\n".join(lines)
