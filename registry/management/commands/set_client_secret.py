"""`manage.py set_client_secret`: store another client secret of a Dataverse environment."""

from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, dataverse_by_name, secret
from registry.services.apps import set_client_secret


class Command(JsonCommand):
    help = (
        "Store another client secret of a Dataverse environment, encrypted. Running workers use it with their next "
        "batch; a pause for the old one is ended by the next probe, or at once by resume_app."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dataverse", required=True, help="the environment's name")
        parser.add_argument(
            "--client-secret", required=True, help="the client secret, or @env:NAME, or - for standard input"
        )

    def act(self, **options: Any) -> dict[str, Any]:
        environment = dataverse_by_name(options["dataverse"])
        set_client_secret(environment, secret(options["client_secret"]))
        return {"dataverse": environment.name}

    def say(self, result: dict[str, Any]) -> str:
        return (
            f"Client secret of {result['dataverse']} stored; the next batch uses it. Where the environment is paused "
            "for the old one, the next probe ends that (within 15 minutes), or at once manage.py resume_app for an app "
            "of it."
        )
