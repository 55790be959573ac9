"""`manage.py up`: everything in the foreground. The work is in tokenhub.embedded.stack."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tokenhub.embedded import stack, state


class Command(BaseCommand):
    help = (
        "Run PostgreSQL, Valkey, the web server, the worker and beat until Ctrl-C. "
        "DATABASE_URL and REDIS_URL, where set, name servers to use instead."
    )
    # Checks may use the database, which is not there yet; the children run them.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--data", type=Path, help="the data folder (default: TOKENHUB_DATA, or var)")
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="0 finds a free one (default: %(default)s)")
        parser.add_argument(
            "--sandbox", action="store_true", help="run the stand-in for Microsoft's side too, with a demo app on it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        data = options["data"].expanduser().resolve() if options["data"] else state.data_dir()
        chosen = stack.Options(data, options["host"], options["port"], options["sandbox"])
        try:
            stack.up(chosen, sys.stdout)  # not self.stdout, whose wrapper is not made for several threads
        except state.StackError as error:
            raise CommandError(str(error)) from None
