"""The connection to Valkey or Redis of this process: marks, counts and nudges, which everybody can do without."""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

import redis
from django.conf import settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@cache
def valkey() -> "redis.Redis":
    """Made on first use and so after the fork. A call that gets no answer fails after a second."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


def understood[T: DataclassInstance](kind: type[T], told: Mapping[str, Any]) -> T:
    """What another process has left here, as one of our dataclasses: a newer version may tell more than this one
    knows, an older one less."""
    return kind(**{field.name: told[field.name] for field in fields(kind) if field.name in told})


class Script:
    """A Lua script on a connection that each thread keeps for itself.

    The client's pool, its locks and its retries cost three times what the call does, and this is called for every
    launch.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._hash = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._own = threading.local()

    def __call__(self, keys: Sequence[str], args: Sequence[float]) -> Any:
        """Run it. Raises redis.RedisError."""
        known = getattr(self._own, "connection", None)
        if known is not None:
            try:
                return self._run(known, keys, args)
            except redis.TimeoutError:
                raise
            except redis.ConnectionError:
                pass  # it was closed while it rested: once more, on a new one
        return self._run(self._connect(), keys, args)

    def _run(self, connection: Any, keys: Sequence[str], args: Sequence[float]) -> Any:
        # A connection with an answer that nobody read would give it to the next who asks.
        self._own.connection = None
        try:
            connection.send_command("EVALSHA", self._hash, len(keys), *keys, *args)
            answer = connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", self._text, len(keys), *keys, *args)
            answer = connection.read_response()
        self._own.connection = connection
        return answer

    def _connect(self) -> Any:
        return valkey().connection_pool.make_connection()
