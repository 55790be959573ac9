"""`manage.py erasure`: show an erasure by its receipt, or force it to its end."""

import uuid
from typing import Any

from django.core.management.base import CommandError, CommandParser

from registry.management.base import JsonCommand
from registry.models import Erasure
from registry.services.erasure import force_erasure, receipt


class Command(JsonCommand):
    help = (
        "Show how far an erasure is. With --force delete what waits for Customer Insights - Journeys without waiting "
        "any longer: what it still holds stays there, and is no longer known here."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("receipt", type=uuid.UUID, help="what erase_user printed")
        parser.add_argument("--force", action="store_true", help="do not wait any longer; needs --note")
        parser.add_argument("--note", default="", help="why it is forced; kept in the receipt, so no personal data")

    def act(self, **options: Any) -> dict[str, Any]:
        if options["force"]:
            return receipt(force_erasure(options["receipt"], options["note"], "command line"))
        erasure = Erasure.objects.select_related("app").filter(pk=options["receipt"]).first()
        if erasure is None:
            raise CommandError("There is no erasure of that receipt.")
        return receipt(erasure)

    def say(self, result: dict[str, Any]) -> str:
        return "\n".join(f"{name:<16}{value}" for name, value in result.items() if value not in (None, ""))
