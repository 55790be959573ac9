"""`manage.py erase_user`: erase a user of an app and print the receipt."""

from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, app_by_slug
from registry.services.erasure import erase_user, receipt


class Command(JsonCommand):
    help = (
        "Erase a user: their devices are cleaned up at Customer Insights - Journeys, and when it has accepted that "
        "everything is deleted. Prints the receipt, by which `manage.py erasure` shows how far it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", required=True, help="the app's slug")
        parser.add_argument("--user", required=True, help="the user's id, as the app posts it")

    def act(self, **options: Any) -> dict[str, Any]:
        return receipt(erase_user(app_by_slug(options["app"]), options["user"], "command line"))

    def say(self, result: dict[str, Any]) -> str:
        return (
            f"Receipt {result['receipt']}: the user's data are deleted, except what is needed until Customer Insights "
            f"- Journeys has accepted the cleanup. See how far it is: manage.py erasure {result['receipt']}"
        )
