"""API keys: made, shown once, found by their hash."""

import secrets

from registry.crypto import sha256
from registry.models import ApiKey, MobileApp
from registry.services.connections import refuse_replaced
from registry.services.errors import InvalidInput
from registry.states import KeyKind

# Fixed prefixes, so that secret scanners can find a key that leaked.
PREFIXES = {KeyKind.MOBILE: "thub_mob_", KeyKind.SERVER: "thub_srv_"}


def create_key(*, app: MobileApp, kind: str) -> str:
    """Make a key of `kind` for `app` and return it: this is the only time it can be seen. Raises InvalidInput."""
    if kind not in KeyKind.values:
        raise InvalidInput("kind", f"{kind!r} is not among: {', '.join(KeyKind.values)}.")
    refuse_replaced(app)
    # 256 random bits: a fast hash protects them as well as a slow one, and is looked up on every request.
    key = PREFIXES[KeyKind(kind)] + secrets.token_urlsafe(32)
    ApiKey.objects.create(app=app, kind=kind, hint=key[:13], key_hash=sha256(key))
    return key


def find_key(key: str) -> ApiKey | None:
    """The living key with its app, or None."""
    return (
        ApiKey.objects.select_related("app")
        .defer("app__api_token")  # nothing here needs it, and decrypting costs
        .filter(key_hash=sha256(key), revoked_at__isnull=True)
        .first()
        if key.startswith(tuple(PREFIXES.values()))
        else None
    )
