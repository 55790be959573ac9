"""`manage.py create_dataverse`: store a Dataverse environment."""

from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, secret
from registry.services.apps import PUBLIC_CLOUD, create_dataverse


class Command(JsonCommand):
    help = "Store a Dataverse environment: where users are looked up."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--name", required=True, help="a short name of your choice, e.g. contoso-prod")
        parser.add_argument("--url", required=True, help="e.g. https://contoso.crm4.dynamics.com")
        parser.add_argument("--tenant", required=True, help="the Entra tenant's id or domain")
        parser.add_argument("--client-id", required=True, help="the application (client) id of the app registration")
        parser.add_argument("--client-secret", required=True, help="its secret, or @env:NAME, or - for standard input")
        parser.add_argument("--authority", default=PUBLIC_CLOUD, help="Entra's address (default: %(default)s)")

    def act(self, **options: Any) -> dict[str, Any]:
        environment = create_dataverse(
            name=options["name"],
            url=options["url"],
            tenant=options["tenant"],
            client_id=options["client_id"],
            client_secret=secret(options["client_secret"]),
            authority=options["authority"],
        )
        return {"name": environment.name, "url": environment.url}

    def say(self, result: dict[str, Any]) -> str:
        return f"Dataverse environment {result['name']} stored: {result['url']}"
