"""API keys: made, shown once, found by their hash, revoked."""

import re
import secrets
import threading
import time
from dataclasses import dataclass, field

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from registry.crypto import sha256
from registry.models import ApiKey, MobileApp, secret_columns
from registry.services.connections import refuse_replaced
from registry.services.errors import InvalidInput
from registry.states import KeyKind

# Fixed prefixes and a fixed length, so that secret scanners can find a key that leaked.
PREFIXES = {KeyKind.MOBILE: "thub_mob_", KeyKind.SERVER: "thub_srv_"}


FORMAT = re.compile(r"thub_(mob|srv)_[A-Za-z0-9_-]{43}", re.ASCII)
MAX_NAME = 100


@dataclass(frozen=True)
class _Known:
    """A living key, and until when the process believes in it. From the half of that time on it is read anew: by one
    launch of the lane, while the others go by it."""

    key: ApiKey
    aged_at: float
    believed_until: float
    renewal: threading.Lock = field(default_factory=threading.Lock)


_processes_keys: dict[bytes, _Known] = {}  # those that this process has met, by hash


def create_key(*, app: MobileApp, kind: str, name: str = "") -> str:
    """Make a key of `kind` for `app` and return it: this is the only time it can be seen. Raises InvalidInput.

    `name` says what the key is for, to people. An app may have any number of living keys: that is how they are rotated.
    """
    if kind not in KeyKind.values:
        raise InvalidInput("kind", f"{kind!r} is not among: {', '.join(KeyKind.values)}.")
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput("name", f"must be one line of at most {MAX_NAME} characters.")
    refuse_replaced(app)
    # 256 random bits: a fast hash protects them as well as a slow one, and is looked up on every request.
    key = PREFIXES[KeyKind(kind)] + secrets.token_urlsafe(32)
    ApiKey.objects.create(app=app, kind=kind, name=name, hint=key[:13], key_hash=sha256(key))
    return key


def find_key(key: str) -> ApiKey | None:
    """The living key with its app, or None.

    A process goes by what it read for TOKENHUB_KEY_CACHE; after that a revoked key is refused everywhere. The search is
    for a hash, so how long it takes tells nothing about how much of a guessed key was right.
    """
    if not FORMAT.fullmatch(key):
        return None
    key_hash = sha256(key)
    known = _processes_keys.get(key_hash)
    return known.key if known and time.monotonic() < known.aged_at else _read_key(key_hash)


def known_key(key: str) -> ApiKey | None:
    """The same without a look into the database: None also where this process has not read the key lately, and for the
    one who is to have it read anew."""
    known, now = _processes_keys.get(sha256(key)), time.monotonic()
    if known is None or now >= known.believed_until:
        return None
    return None if now >= known.aged_at and known.renewal.acquire(blocking=False) else known.key


def _read_key(key_hash: bytes) -> ApiKey | None:
    read_at, cached = time.monotonic(), settings.TOKENHUB_KEY_CACHE.total_seconds()
    key = (
        ApiKey.objects.select_related("app")
        .defer(*secret_columns("app__"))  # nothing here needs it, and decrypting costs
        .filter(key_hash=key_hash, revoked_at__isnull=True)
        .first()
    )
    if key is None:
        # Unknown ones are not remembered: whoever guesses would fill the memory.
        _processes_keys.pop(key_hash, None)
        return None
    _note_use(key)
    _processes_keys[key_hash] = _Known(key, aged_at=read_at + cached / 2, believed_until=read_at + cached)
    return key


def _note_use(key: ApiKey) -> None:
    """Write that the key is used, at most once in some minutes."""
    if key.last_used_at is None or timezone.now() - key.last_used_at > settings.TOKENHUB_KEY_USED_INTERVAL:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=Now())


def revoke_key(key: ApiKey) -> bool:
    """Refuse the key from now on; other processes do within TOKENHUB_KEY_CACHE. Returns whether it lived until now."""
    _processes_keys.pop(bytes(key.key_hash), None)
    return bool(ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now()))
