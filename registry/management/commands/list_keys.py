"""`manage.py list_keys`: which API keys there are, and which are used."""

from typing import Any

from django.core.management.base import CommandParser

from registry.management.base import JsonCommand, app_by_slug
from registry.models import ApiKey, secret_columns


class Command(JsonCommand):
    help = "List the API keys: what each is for, when it was used last, whether it is revoked."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--app", help="only those of this app (its slug)")

    def act(self, **options: Any) -> dict[str, Any]:
        keys = ApiKey.objects.select_related("app").defer(*secret_columns("app__")).order_by("app__slug", "pk")
        if options["app"]:
            keys = keys.filter(app=app_by_slug(options["app"]))
        return {"keys": [_row(key) for key in keys]}

    def say(self, result: dict[str, Any]) -> str:
        if not result["keys"]:
            return "There are no keys. Make one with: manage.py create_key"
        heads = ["id", "app", "kind", "key", "created", "last used", "revoked", "name"]
        rows = [heads, *([_text(value) for value in row.values()] for row in result["keys"])]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)


def _row(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.pk,
        "app": key.app.slug,
        "kind": key.kind,
        "key": f"{key.hint}…",
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "name": key.name,
    }


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else str(value)
