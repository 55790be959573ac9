"""`manage.py replace_connection`: give an app another connection, and retire what it registered under the old one."""

from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, app_by_slug, secret
from registry.services.connections import replace_connection


class Command(JsonCommand):
    help = (
        "Give an app another organisation, mobile app id or endpoint of Customer Insights - Journeys. Its keys, users "
        "and devices stay; its devices are registered under the new connection, and what was registered under the old "
        "one is cleaned up there. The old one is kept as SLUG~1 until nothing is left: see manage.py sync_status."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", required=True, help="the app's slug")
        parser.add_argument("--org-id", help="the new organisation id (GUID; default: as it is)")
        parser.add_argument("--mobile-app-id", help="the new mobile app id (GUID; default: as it is)")
        parser.add_argument("--endpoint", help="the new public endpoint (default: as it is)")
        parser.add_argument(
            "--api-token", required=True, help="the new connection's ApiToken, or @env:NAME, or - for standard input"
        )

    def act(self, **options: Any) -> dict[str, Any]:
        app = app_by_slug(options["app"])
        names = ("org_id", "mobile_app_id", "endpoint")
        old = replace_connection(app, **{name: options[name] for name in names}, api_token=secret(options["api_token"]))
        app.refresh_from_db(fields=names)
        return {"app": app.slug, **{name: getattr(app, name) for name in names}, "replaced": old.slug}

    def say(self, result: dict[str, Any]) -> str:
        return (
            f"{result['app']} is mobile app {result['mobile_app_id']} at {result['endpoint']} from now on. What was "
            f"registered before is being cleaned up as {result['replaced']}; see how far it is: manage.py sync_status "
            f"--app {result['replaced']}. Is its Customer Insights - Journeys gone for good: manage.py "
            f"abandon_connection --app {result['replaced']} --note TEXT"
        )
