"""`manage.py set_api_token`: store another ApiToken of an app."""

from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, app_by_slug, secret
from registry.services.apps import set_api_token


class Command(JsonCommand):
    help = (
        "Store another ApiToken of an app, encrypted. Running workers use it with their next batch; a pause for the "
        "old one is ended by the next probe, or at once by resume_app."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", required=True, help="the app's slug")
        parser.add_argument("--api-token", required=True, help="the ApiToken, or @env:NAME, or - for standard input")

    def act(self, **options: Any) -> dict[str, Any]:
        app = app_by_slug(options["app"])
        set_api_token(app, secret(options["api_token"]))
        return {"app": app.slug}

    def say(self, result: dict[str, Any]) -> str:
        return (
            f"ApiToken of {result['app']} stored; the next batch uses it. Where the app is paused for the old one, "
            f"the next probe ends that (within 15 minutes), or at once manage.py resume_app --app {result['app']}, "
            "which also has what failed meanwhile tried again."
        )
