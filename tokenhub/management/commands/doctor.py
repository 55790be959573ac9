"""`manage.py doctor`: what is wrong, and how to mend it. The checks are in tokenhub.doctor."""

import logging
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tokenhub.doctor import Finding, Level, as_json, examine
from tokenhub.version import VERSION

_COLOURS = {Level.OK: "SUCCESS", Level.WARNING: "WARNING", Level.ERROR: "ERROR"}


class Command(BaseCommand):
    help = (
        "Look at settings, stores, migrations, clocks, keys, the way to Microsoft and the credentials there, beat, "
        "workers and queues; say what is wrong and how to mend it. Exits with 1 where something does not work. Makes a "
        "few calls to Microsoft, changes nothing, and prints no secret."
    )
    # It makes the checks itself, and goes on where one fails.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as JSON, for scripts")
        parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings, too")

    def handle(self, *args: Any, **options: Any) -> None:
        logging.disable(logging.WARNING)  # what its calls have to say is in the findings
        try:
            findings = examine()
        finally:
            logging.disable(logging.NOTSET)
        levels = {finding.level for finding in findings}
        bad = Level.ERROR in levels or (options["strict"] and Level.WARNING in levels)
        if options["json"]:
            self.stdout.write(as_json(findings, ok=not bad))
        else:
            self._say(findings)
        if bad:
            sys.exit(1)

    def _say(self, findings: list[Finding]) -> None:
        width = max(len(finding.part) for finding in findings)
        self.stdout.write(f"tokenhub {VERSION}")
        for finding in findings:
            colour = getattr(self.style, _COLOURS[finding.level])
            self.stdout.write(f"{colour(f'{finding.level:<8}')} {finding.part:<{width}}  {finding.says}")
            if finding.mend:
                self.stdout.write(f"{'':<8} {'':<{width}}  → {finding.mend}")
        self.stdout.write(", ".join(_counted(findings, level) for level in (Level.ERROR, Level.WARNING)))


def _counted(findings: list[Finding], level: Level) -> str:
    """How many there are of a level, and of which parts: what is wrong stands at the end of what scrolls by."""
    parts = [finding.part for finding in findings if finding.level is level]
    named = f" ({', '.join(dict.fromkeys(parts))})" if parts else ""
    return f"{len(parts)} {level}{'' if len(parts) == 1 else 's'}{named}"
