"""Paths that are no UTF-8. Django spells such octets out, and so `/users/%FF` would be that of an id "%FF", which is
spelled `/users/%25FF`.
"""

from collections.abc import Iterable
from typing import Any

from tokenhub.chunked import Application


def readable_paths(application: Application) -> Application:
    """A WSGI application that hands on paths in UTF-8, with U+FFFD for what is none: no id holds it."""

    def readable(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not path.isascii():
            environ["PATH_INFO"] = path.encode("latin-1").decode(errors="replace").encode().decode("latin-1")
        return application(environ, start_response)

    return readable
