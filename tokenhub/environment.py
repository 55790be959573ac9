"""Environment variables, read by their kind. One that cannot be read is named: it may be one of sixty."""

import difflib
import math
import os
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

_PREFIX = "TOKENHUB_"
_FALSE = ("", "false", "off", "no", "n", "0")
# Read before there are settings, or by deploy/manage.
_OTHERS = frozenset(_PREFIX + name for name in ("DATA", "BUILD", "ENV", "USER"))
# What Kubernetes tells every pod of a Service that is called tokenhub.
_OF_KUBERNETES = ("TOKENHUB_SERVICE_", "TOKENHUB_PORT")


class Env(environ.Env):  # type: ignore[misc]  # django-environ has no types
    """Raises ImproperlyConfigured, which names the variable, for what is no number, or neither true nor false."""

    asked: ClassVar[set[str]] = set()  # every name that was read, set or not

    def get_value(self, var: str, cast: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Every method of `Env` ends here."""
        self.asked.add(var)
        value = os.environ.get(var, "")
        if cast is str and value.startswith("$"):  # it would be taken for another variable's name, and secrets may
            return value
        if cast is bool and value.lower() not in (*self.BOOLEAN_TRUE_STRINGS, *_FALSE):
            raise ImproperlyConfigured(f"{var}: {value!r} is neither true nor false.")
        try:
            # django-environ drops from a float what is none, and takes 1e3 for 13.
            found = float(value) if cast is float and value else super().get_value(var, cast, *args, **kwargs)
        except ValueError:
            raise ImproperlyConfigured(f"{var}: {value!r} cannot be read as a number.") from None
        if isinstance(found, int | float) and not (0 <= found < math.inf):
            raise ImproperlyConfigured(f"{var}: {value!r} is no number from 0 on.")
        return found

    def more_than_0[N: (int, float)](self, var: str, default: N) -> N:
        """A number of what there has to be some of. As the default it is whole, or may be a fraction."""
        found: N = self.int(var, default) if isinstance(default, int) else self.float(var, default)
        if not found:
            raise ImproperlyConfigured(f"{var}: 0 is too little.")
        return found

    def address(self, var: str, default: str = "") -> str:
        """Of a web server, without a slash at its end, or nothing."""
        found: str = self.str(var, default).rstrip("/")
        try:
            parts = urlsplit(found)
            good = parts.scheme in ("https", "http") and bool(parts.hostname)
        except ValueError:  # [, say
            good = False
        if found and not good:
            raise ImproperlyConfigured(f"{var} is {found!r}; an address begins with https:// or http://")
        return found

    def one_of(self, var: str, default: str, allowed: Iterable[str]) -> str:
        """A word among a few."""
        found: str = self.str(var, default)
        if found not in allowed:
            raise ImproperlyConfigured(f"{var} is {found!r}; it is one of {', '.join(allowed)}.")
        return found


def misspelt(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those among names of variables that look like settings and are none, each with the setting that is most like
    it, or nothing. Known once the settings were read."""
    known = Env.asked | _OTHERS
    own = [name.removeprefix(_PREFIX) for name in known]
    for name in sorted(names):
        if name.startswith(_PREFIX) and name not in known and not name.startswith(_OF_KUBERNETES):
            likely = difflib.get_close_matches(name.removeprefix(_PREFIX), own, n=1)
            yield name, _PREFIX + likely[0] if likely else ""
