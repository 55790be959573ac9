"""Environment variables, read by their kind. One that cannot be read is named: it may be one of sixty."""

import os
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

_FALSE = ("", "false", "off", "no", "n", "0")


class Env(environ.Env):  # type: ignore[misc]  # django-environ has no types
    """Raises ImproperlyConfigured, which names the variable, for what is no number, or neither true nor false."""

    def get_value(self, var: str, cast: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Every method of `Env` ends here."""
        value = os.environ.get(var, "")
        if cast is str and value.startswith("$"):  # it would be taken for another variable's name, and secrets may
            return value
        if cast is bool and value.lower() not in (*self.BOOLEAN_TRUE_STRINGS, *_FALSE):
            raise ImproperlyConfigured(f"{var}: {value!r} is neither true nor false.")
        try:
            return super().get_value(var, cast, *args, **kwargs)
        except ValueError:
            raise ImproperlyConfigured(f"{var}: {value!r} cannot be read as a number.") from None
