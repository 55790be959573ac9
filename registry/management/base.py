"""What the commands share: secrets that stay out of the shell's history, JSON for scripts, plain errors."""

import json
import os
import sys
from abc import ABC, abstractmethod
from getpass import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.models import DataverseEnvironment, MobileApp, secret_columns
from registry.services.errors import InvalidInput


def secret(value: str) -> str:
    """A secret: itself, or `@env:NAME`, or `-` for one line of standard input, typed in unseen at a terminal.

    Raises CommandError.
    """
    if value == "-":
        read = getpass("The secret: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
        if not read:
            raise CommandError("Standard input holds no secret.")
        return read
    if value.startswith("@env:"):
        name = value.removeprefix("@env:")
        if not os.environ.get(name):
            raise CommandError(f"The environment variable {name} is not set.")
        return os.environ[name]
    return value


def comma_separated(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def app_by_slug(slug: str) -> MobileApp:
    """The app of that slug. Raises CommandError naming the ones there are."""
    try:
        return MobileApp.objects.defer(*secret_columns()).get(slug=slug)  # a secret that cannot be read can be replaced
    except MobileApp.DoesNotExist:
        known = ", ".join(MobileApp.objects.order_by("slug").values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"There is no app {slug!r}. Known apps: {known}.") from None


def dataverse_by_name(name: str) -> DataverseEnvironment:
    """The Dataverse environment of that name. Raises CommandError naming the ones there are."""
    try:
        return DataverseEnvironment.objects.defer("client_secret").get(name=name)
    except DataverseEnvironment.DoesNotExist:
        names = DataverseEnvironment.objects.order_by("name").values_list("name", flat=True)
        known = ", ".join(names) or "none yet"
        raise CommandError(f"There is no Dataverse environment {name!r}. Known environments: {known}.") from None


class JsonCommand(BaseCommand, ABC):
    """A command with `--json`: `act` does the work and returns what is printed; `say` puts it into words."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the result as JSON, for scripts")

    @abstractmethod
    def act(self, **options: Any) -> dict[str, Any]:
        """Do the work; return what there is to report. May raise InvalidInput and CommandError."""

    @abstractmethod
    def say(self, result: dict[str, Any]) -> str:
        """The result in words, for a person."""

    def handle(self, *args: Any, **options: Any) -> str:
        try:
            result = self.act(**options)
        except InvalidInput as error:
            raise CommandError(f"--{error.field.replace('_', '-')}: {error.message}") from None
        return json.dumps(result, default=str) if options["json"] else self.say(result)
