"""Dataverse's errors: `{"error": {"code": "0x…", "message": "…"}}` (webapi/compose-http-requests-handle-errors.md)."""

from sandbox.wire import Answer, RefusedError

BAD_QUERY = "0x80060888"
NO_SUCH_SEGMENT = "0x8006088a"
NOT_FOUND = "0x80040217"
TOO_MANY_CONDITIONS = "0x8004430C"
NOT_AUTHENTICATED = "0x80040275"
PRIVILEGE_DENIED = "0x80040220"
EXPIRED_VERSION_STAMP = "0x80044352"


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> RefusedError:
    """A refusal with Dataverse's error body."""
    body = {"error": {"code": code, "message": message}}
    return RefusedError(Answer(status, body, {"OData-Version": "4.0", **(headers or {})}))


def bad_query(message: str) -> RefusedError:
    """400: the query options could not be understood."""
    return error(400, BAD_QUERY, message)
