"""Yardsticks: what Python can do at most with one SELECT, or one upsert, a request. No framework, nothing checked."""

import json
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import psycopg

_own = threading.local()

_SELECT = "SELECT token, platform, last_seen FROM registry_device WHERE app_id = %s AND installation_id = %s"
_UPSERT = """
INSERT INTO bench_device (installation_id, token) VALUES (%s, %s)
ON CONFLICT (installation_id) DO UPDATE SET token = excluded.token, writes = bench_device.writes + 1, last_seen = now()
"""


def _connection() -> "psycopg.Connection[Any]":
    if not hasattr(_own, "connection"):
        _own.connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    found: psycopg.Connection[Any] = _own.connection
    return found


def _answer(start_response: Callable[..., Any], result: str) -> Iterable[bytes]:
    body = b'{"result":"%s"}' % result.encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def known(installation_id: str) -> tuple[Any, ...] | None:
    """The row of a device."""
    return _connection().execute(_SELECT, [1, installation_id], prepare=True).fetchone()


def select(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Read the body, read the row, answer."""
    posted = json.loads(environ["wsgi.input"].read())
    row = known(posted["installation_id"])
    return _answer(start_response, "unchanged" if row and row[0] == posted["token"] else "unknown")


def upsert(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Read the body, write the row, answer."""
    posted = json.loads(environ["wsgi.input"].read())
    _connection().execute(_UPSERT, [posted["installation_id"], posted["token"]], prepare=True)
    return _answer(start_response, "updated")
