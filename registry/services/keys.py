"""API keys: made, shown once, found by their hash, revoked."""

import re
import secrets
import time

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

# The living keys that this process has met, by hash, and until when it believes in them.
_processes_keys: dict[bytes, tuple[ApiKey, float]] = {}


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
    return (known_key(key) or _read_key(sha256(key))) if FORMAT.fullmatch(key) else None


def known_key(key: str) -> ApiKey | None:
    """The same without a look into the database: None also where this process has not read the key lately."""
    known, believed_until = _processes_keys.get(sha256(key), (None, 0.0))
    return known if time.monotonic() < believed_until else None


def _read_key(key_hash: bytes) -> ApiKey | None:
    believed_until = time.monotonic() + settings.TOKENHUB_KEY_CACHE.total_seconds()
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
    _processes_keys[key_hash] = (key, believed_until)
    return key


def _note_use(key: ApiKey) -> None:
    """Write that the key is used, at most once in some minutes."""
    if key.last_used_at is None or timezone.now() - key.last_used_at > settings.TOKENHUB_KEY_USED_INTERVAL:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=Now())


def revoke_key(key: ApiKey) -> bool:
    """Refuse the key from now on; other processes do within TOKENHUB_KEY_CACHE. Returns whether it lived until now."""
    _processes_keys.pop(bytes(key.key_hash), None)
    return bool(ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now()))
