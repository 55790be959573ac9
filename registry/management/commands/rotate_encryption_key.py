"""`manage.py rotate_encryption_key`: encrypt every secret at rest with the first key, while everything runs."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from registry.management.base import JsonCommand
from registry.management.long_work import progress, stoppable
from registry.services.rotation import Findings, count_values, rotate


class Command(JsonCommand):
    help = (
        "Encrypt every secret at rest with the first of TOKENHUB_ENCRYPTION_KEYS. Nothing has to stop for it: put the "
        "new key last and restart everything, put it first and restart everything, run this, and only then take the "
        "old one away. Can be interrupted, and goes on where it was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--check", action="store_true", help="say what each key opens, and change nothing")

    def act(self, **options: Any) -> dict[str, Any]:
        found = Findings()
        if not options["check"]:
            found = _work(write=True)
        rotated = found.rotated
        # Looked at again: a process that still has the old key in front may have written meanwhile.
        found = _work(write=False)
        if found.unreadable:
            raise CommandError(
                f"{len(found.unreadable)} of {found.values} values are opened by none of TOKENHUB_ENCRYPTION_KEYS: "
                f"{'; '.join(found.unreadable[:20])}. Take no key away. Put the key back that is missing, or set these "
                "secrets anew (set_api_token, set_client_secret, set_token_issuer; of an Authenticator: have the "
                "second factor forgotten in the admin's list of users), and run this again."
            )
        if not found.complete and not options["check"]:
            raise CommandError(
                "Something was encrypted with an old key meanwhile: a process still has it in front. Restart every "
                "process with the new key first, then run this again."
            )
        return {
            "rotated": rotated,
            "values": found.values,
            "by_key": [found.by_key[number] for number in range(len(settings.TOKENHUB_ENCRYPTION_KEYS))],
            "complete": found.complete,
        }

    def say(self, result: dict[str, Any]) -> str:
        lines = [f"{result['rotated']} of {result['values']} values were encrypted anew."] * (result["rotated"] > 0)
        lines += [f"Key {number} opens {count} values." for number, count in enumerate(result["by_key"], 1)]
        if not result["complete"]:
            lines.append("Not all are encrypted with key 1: run this without --check.")
        elif len(result["by_key"]) > 1:
            lines.append("Key 1 opens everything: the others can be taken away.")
        return "\n".join(lines)


def _work(*, write: bool) -> Findings:
    """One round over everything. CommandError where somebody stopped it."""
    with stoppable() as stop, progress(count_values()) as show:
        found = Findings()
        for found in rotate(write=write):
            show(found.values, f"{found.values:,} values, {found.rotated:,} encrypted anew")
            if stop:
                raise CommandError("Stopped. The same command goes on from there.", returncode=130)
        return found
