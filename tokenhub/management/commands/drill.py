"""`deploy/run drill`: is a restored copy of the database good? docs/backup.md says how it gets there."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from registry.models import MobileApp

SUFFIX = "_drill"


class Command(BaseCommand):
    help = (
        "Look at a restored copy of the database: bring its tables up to date, open every secret in it, say what is in "
        "it and what a reconcile would do. Reaches neither workers nor Microsoft. Start it as deploy/run drill, which "
        "takes the database beside the real one whose name ends in _drill."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        name = connection.settings_dict["NAME"]
        if not str(name).endswith(SUFFIX):
            raise CommandError(f"{name} is not a copy: start this as deploy/run drill (docs/backup.md).")
        self._do("Its tables are brought up to this version", "migrate", verbosity=0)
        if not MobileApp.objects.exists():
            raise CommandError(f"{name} holds no app: was anything restored into it?")
        self._do("What the encryption keys open", "rotate_encryption_key", check=True)
        self._do("What is in it: compare it with sync_status of the real one", "sync_status")
        self._do("What a reconcile would do", "reconcile", no_wait=True)
        self.stdout.write(
            f"\nThe copy is good. Drop {name}: what is secret and personal in the real one is in it, too."
        )

    def _do(self, what: str, command: str, **options: Any) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n{what}"))
        call_command(command, stdout=self.stdout, stderr=self.stderr, **options)
