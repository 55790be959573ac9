"""`manage.py reconcile`: after a restore, compare the tables with CI-J and mend what differs."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from registry.management.base import JsonCommand, app_by_slug
from registry.management.long_work import progress, stoppable
from registry.models import MobileApp
from registry.services.reconcile import Standing, begin, mark_batch, standing

LOOK = 1.0  # seconds between two looks at what the workers have done


class Command(JsonCommand):
    help = (
        "After the database came back from a backup: have everything that is not to be held cleaned up at Customer "
        "Insights - Journeys once more, every mapping looked at again, and every registration proven anew when its "
        "phone launches. Workers do it; this shows how far they are. Can be interrupted, and gone on with by --resume."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", help="the app's slug (default: all apps)")
        parser.add_argument(
            "--everything",
            action="store_true",
            help="send every registration again now, whoever has the phone by now: only where Customer Insights - "
            "Journeys itself came back from a backup",
        )
        parser.add_argument(
            "--no-wait", action="store_true", help="mark what is to be done, and leave it to the workers"
        )
        parser.add_argument(
            "--resume",
            action="store_true",
            help="go on where an earlier one of this restore was stopped; else begin anew",
        )

    def act(self, **options: Any) -> dict[str, Any]:
        apps = [app_by_slug(options["app"])] if options["app"] else _all_apps()
        with stoppable() as stop:
            for app in apps:
                self._reconcile(app, stop, options)
        if stop:
            raise CommandError(
                "Stopped. Workers go on with what is marked; --resume goes on from there.", returncode=130
            )
        found = {app.slug: standing(app) for app in apps}
        return {
            "done": all(at.is_done for at in found.values()),
            "apps": {slug: asdict(at) for slug, at in found.items()},
        }

    def say(self, result: dict[str, Any]) -> str:
        lines = [f"{slug}: {_words(Standing(**found))}" for slug, found in result["apps"].items()]
        if result["done"]:
            lines.append("Done. What waits for its phone is proven when that launches; nothing has to run for it.")
        return "\n".join(lines)

    def _reconcile(self, app: MobileApp, stop: Sequence[int], options: dict[str, Any]) -> None:
        begin(app, everything=options["everything"], resume=options["resume"])
        at = standing(app)
        total = at.to_mark + at.cleanups_left + at.sends_left
        with progress(total) as show:
            while mark_batch(app) and not stop:
                show(0, f"{app}: marking")
            while not options["no_wait"] and not stop:
                at = standing(app)
                left = at.cleanups_left + at.sends_left
                total = max(total, left)
                show(total - left, f"{app}: {_words(at)}")
                if at.is_done:
                    break
                time.sleep(LOOK)


def _all_apps() -> list[MobileApp]:
    """Those that were replaced too, as long as something is left to do there."""
    return list(MobileApp.objects.defer("api_token").filter(over_at__isnull=True).order_by("slug"))


def _words(at: Standing) -> str:
    return (
        f"{at.cleanups - min(at.cleanups, at.cleanups_left):,} of {at.cleanups:,} cleaned up once more, "
        f"{at.sends - min(at.sends, at.sends_left):,} of {at.sends:,} sent again, "
        f"{at.waiting_for_phones:,} wait for their phones"
    )
