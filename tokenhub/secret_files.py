"""Settings from files: `NAME_FILE` names the file with the value of `NAME`, as Docker and Kubernetes mount secrets.

Read once, when a process starts; what it starts in turn gets the value as if it had stood in the environment.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

SUFFIX = "_FILE"
OTHERS = frozenset({"DATABASE_URL", "REDIS_URL"})  # beside everything that begins with TOKENHUB_


def read_secret_files(environment: MutableMapping[str, str] = os.environ) -> None:
    """Put the content of every file in the place of its name; the line's end is no part of it.

    Raises ImproperlyConfigured where a file cannot be read or is empty, and where the value is given twice.
    """
    for given, path in list(environment.items()):
        name = given.removesuffix(SUFFIX)
        if name == given or not (name in OTHERS or name.startswith("TOKENHUB_")):
            continue  # SSL_CERT_FILE is itself a setting
        if not path:
            continue
        if environment.get(name):
            raise ImproperlyConfigured(f"{name} and {given} are both set: take one of them away.")
        try:
            value = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ImproperlyConfigured(f"{given}: {path} cannot be read: {reason}.") from None
        if not value:
            raise ImproperlyConfigured(f"{given}: {path} is empty.")
        environment[name] = value
        del environment[given]
