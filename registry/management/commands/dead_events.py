"""`manage.py dead_events`: events that CI-J refused or that were given up; replay or discard them."""

from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Count, Max, Min

from registry.management.base import JsonCommand, app_by_slug
from registry.models import InteractionEvent
from registry.services.dead_letters import DEAD, discard, replay, replayable


class Command(JsonCommand):
    help = (
        "Show the dead letters of an app's events by reason. --replay has them relayed once more, as far as they are "
        "young enough and their users consent to tracking; --discard gives them up for good."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", required=True, help="the app's slug")
        parser.add_argument("--reason", default="", help="only those whose reason begins so")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--replay", action="store_true")
        what.add_argument("--discard", action="store_true")

    def act(self, **options: Any) -> dict[str, Any]:
        app = app_by_slug(options["app"])
        chosen = InteractionEvent.objects.filter(DEAD, app=app, reason__startswith=options["reason"])
        if options["replay"] or options["discard"]:
            change, word = (replay, "replayed") if options["replay"] else (discard, "discarded")
            return {"app": app.slug, word: change(chosen, self._tell), "left": chosen.count()}
        found = chosen.order_by("reason").values("reason").annotate(Count("pk"), Min("received_at"), Max("received_at"))
        reasons = [
            {
                "reason": row["reason"],
                "events": row["pk__count"],
                "from": row["received_at__min"],
                "to": row["received_at__max"],
            }
            for row in found
        ]
        return {"app": app.slug, "reasons": reasons, "replayable": chosen.filter(replayable()).count()}

    def _tell(self, done: int) -> None:
        self.stderr.write(f"{done} so far")

    def say(self, result: dict[str, Any]) -> str:
        for word in ("replayed", "discarded"):
            if word in result:
                return f"{result[word]} dead letters of {result['app']} were {word}; {result['left']} are left."
        if not result["reasons"]:
            return f"{result['app']} has no dead letters."
        lines = [
            f"{row['events']:>9}  {row['reason']}  ({row['from']:%Y-%m-%d %H:%M} to {row['to']:%Y-%m-%d %H:%M})"
            for row in result["reasons"]
        ]
        lines.append(f"{result['replayable']} of them can be replayed: --replay. --discard gives up for good.")
        return "\n".join(lines)
