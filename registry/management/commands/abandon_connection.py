"""`manage.py abandon_connection`: write off what is left under a replaced connection."""

from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, app_by_slug
from registry.services.connections import abandon_connection


class Command(JsonCommand):
    help = (
        "Write off what is left under a replaced connection, where its Customer Insights - Journeys is gone for good: "
        "no erasure and no hand-over waits for it any longer. What it still holds stays there, and is no longer known "
        "here: a phone that changes hands could get the former user's messages from it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", required=True, help="the replaced connection, e.g. shop~1")
        parser.add_argument("--note", default="", help="why; kept with it and in receipts, so no personal data")

    def act(self, **options: Any) -> dict[str, Any]:
        app = app_by_slug(options["app"])
        registrations, events = abandon_connection(app, options["note"], "command line")
        return {"app": app.slug, "registrations": registrations, "events": events}

    def say(self, result: dict[str, Any]) -> str:
        return (
            f"{result['app']} abandoned: {result['registrations']} registrations and {result['events']} events are "
            "written off."
        )
