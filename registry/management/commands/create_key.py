"""`manage.py create_key`: make an API key and show it once."""

from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, app_by_slug
from registry.services.keys import create_key
from registry.states import KeyKind


class Command(JsonCommand):
    help = "Make an API key for an app. It is shown once and kept only as a hash."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", required=True, help="the app's slug")
        parser.add_argument("--kind", required=True, choices=KeyKind.values)
        parser.add_argument("--name", default="", help="what it is for, e.g. 'Android 4.2'; list_keys shows it")

    def act(self, **options: Any) -> dict[str, Any]:
        return {"key": create_key(app=app_by_slug(options["app"]), kind=options["kind"], name=options["name"])}

    def say(self, result: dict[str, Any]) -> str:
        return str(result["key"])
