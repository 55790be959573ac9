"""The connection to Valkey or Redis of this process: marks, counts and nudges, which everybody can do without."""

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

import redis
from django.conf import settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def valkey() -> "redis.Redis":
    """Of this process, made on first use. A call that gets no answer fails after a second."""
    return _client(os.getpid())


# The client does find out that it was forked, and keeps its lock all the same: where a thread of the parent had it just
# then, a worker's child would wait for it for ever, and with it whoever wants the worker to end. Nor may the child let
# go of the parent's client: it would be closed, which takes the same lock.
@cache
def _client(pid: int) -> "redis.Redis":
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


def understood[T: DataclassInstance](kind: type[T], told: Mapping[str, Any]) -> T:
    """What another process has left here, as one of our dataclasses: a newer version may tell more than this one
    knows, an older one less."""
    return kind(**{field.name: told[field.name] for field in fields(kind) if field.name in told})


class Script:
    """A Lua script on a connection that each thread keeps for itself.

    The client's pool, its locks and its retries cost three times what the call does, and this is called for every
    launch. A process that was forked off makes connections of its own.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._hash = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._own = threading.local()

    def __call__(self, keys: Sequence[str], args: Sequence[float]) -> Any:
        """Run it. Raises redis.RedisError."""
        words = (len(keys), *keys, *args)
        rested = getattr(self._own, "connection", None)
        # A connection with an answer that nobody read would give it to the next who asks.
        self._own.connection = None
        if rested is not None and rested.pid == os.getpid():
            try:
                return self._ask(rested, words)
            except redis.ConnectionError:
                pass  # it was closed while it rested
        return self._ask(valkey().connection_pool.make_connection(), words)

    def _ask(self, connection: Any, words: Sequence[Any]) -> Any:
        try:
            connection.send_command("EVALSHA", self._hash, *words)
            answer = connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", self._text, *words)
            answer = connection.read_response()
        self._own.connection = connection
        return answer
