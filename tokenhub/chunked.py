"""Bodies that come in chunks and without their length (RFC 9112, section 7.1): .NET's JSON client sends them so.

Django reads as much as Content-Length says, and so would take such a body for an empty one.
"""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

MOST = 8 * 1024 * 1024 + 1  # bytes: one more than the largest body that any of our endpoints takes

type Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def whole_bodies(application: Application) -> Application:
    """A WSGI application that hands on each body with its length, and of one that is longer than MOST only so much."""

    def with_length(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # Only where the server says that reading ends with the body (`input_terminated`) and does not wait for more.
        if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower() and environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read(MOST)
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
        return application(environ, start_response)

    return with_length
