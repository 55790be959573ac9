#!/usr/bin/env python
"""The command line of tokenhub."""

import os
import sys


def main() -> None:
    """Run one management command; say what to do when the stack it needs is not there."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        if sys.argv[1:2] == ["doctor"] and "--json" in sys.argv:
            from tokenhub.doctor import Finding, Level, as_json

            print(as_json([Finding("settings", Level.ERROR, f"{error}", "See docs/settings.md.")], ok=False))  # noqa: T201
        sys.exit(f"{error}")
    except OperationalError as error:
        from tokenhub.embedded import state

        if "DATABASE_URL" in os.environ or state.running(state.data_dir()):
            sys.exit(f"The database does not answer: {error}")
        sys.exit(state.not_running_message(state.data_dir()))


if __name__ == "__main__":
    main()
