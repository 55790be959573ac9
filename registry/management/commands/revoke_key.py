"""`manage.py revoke_key`: refuse an API key from now on."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from registry.management.base import JsonCommand
from registry.models import ApiKey, secret_columns
from registry.services.keys import revoke_key


class Command(JsonCommand):
    help = "Revoke an API key. It cannot be taken back: make a new key first, and see by list_keys that it is used."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("id", type=int, help="as list_keys prints it")

    def act(self, **options: Any) -> dict[str, Any]:
        key = ApiKey.objects.select_related("app").defer(*secret_columns("app__")).filter(pk=options["id"]).first()
        if key is None:
            raise CommandError(f"There is no key {options['id']}. manage.py list_keys shows them.")
        lived = revoke_key(key)
        key.refresh_from_db(fields=["revoked_at"])
        return {
            "id": key.pk,
            "app": key.app.slug,
            "key": f"{key.hint}…",
            "was_living": lived,
            "revoked_at": key.revoked_at,
        }

    def say(self, result: dict[str, Any]) -> str:
        which = f"Key {result['id']} ({result['key']}) of {result['app']}"
        if not result["was_living"]:
            return f"{which} was revoked already, at {result['revoked_at']:%Y-%m-%d %H:%M}."
        seconds = settings.TOKENHUB_KEY_CACHE.total_seconds()
        return f"{which} is revoked. Every process refuses it within {seconds:g} s."
