"""`manage.py resume_app`: end an app's pauses by hand, once what caused them is mended."""

from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, app_by_slug
from sync import pauses


class Command(JsonCommand):
    help = (
        "End the pauses of an app and of its Dataverse environment, and try again what failed. "
        "What waited goes on with the next sweep. "
        "Where it rests since most mappings were lost, that accepts their loss."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", required=True, help="the app's slug")

    def act(self, **options: Any) -> dict[str, Any]:
        app = app_by_slug(options["app"])
        resumed = any([pauses.resume(app), pauses.resume(app.dataverse)])
        return {"app": app.slug, "resumed": resumed, "reopened": pauses.reopen(app)}

    def say(self, result: dict[str, Any]) -> str:
        pause = "resumed" if result["resumed"] else "was not paused"
        return f"{result['app']} {pause}; {result['reopened']} failed registrations are tried again."
