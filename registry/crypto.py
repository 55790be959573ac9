"""Secrets at rest, and hashes of things that are looked up."""

import hashlib
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class SecretUnreadable(Exception):
    """A stored secret was encrypted with a key that is not in TOKENHUB_ENCRYPTION_KEYS, or one of those is no key."""


@cache
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise SecretUnreadable("TOKENHUB_ENCRYPTION_KEYS holds what is no key.") from None


def _current() -> MultiFernet:
    return _fernet(tuple(settings.TOKENHUB_ENCRYPTION_KEYS))


def opened(stored: str) -> tuple[int, str] | None:
    """Which of TOKENHUB_ENCRYPTION_KEYS, counted from 0, opens a stored value, and what it says; None: none does."""
    for position, key in enumerate(settings.TOKENHUB_ENCRYPTION_KEYS):
        try:
            return position, _fernet((key,)).decrypt(stored).decode()
        except (InvalidToken, SecretUnreadable):
            continue
    return None


def encrypt(text: str) -> str:
    """What the first key makes of it."""
    return _current().encrypt(text.encode()).decode()


def decrypt(stored: str) -> str:
    """The opposite of `encrypt`. Raises SecretUnreadable."""
    try:
        return _current().decrypt(stored).decode()
    except InvalidToken:
        raise SecretUnreadable("A secret was encrypted with a key that is not in TOKENHUB_ENCRYPTION_KEYS.") from None


class EncryptedTextField(models.TextField[str, str]):
    """Text that is encrypted in the database (Fernet: AES-128-CBC with HMAC) and plain in Python."""

    def get_prep_value(self, value: Any) -> Any:
        return value if value in (None, "") else _current().encrypt(str(value).encode()).decode()

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        if not value:  # nothing is no secret
            return value
        try:
            return _current().decrypt(value).decode()
        except InvalidToken:
            raise SecretUnreadable(
                f"{self.model.__name__}.{self.name} was encrypted with a key that is not in TOKENHUB_ENCRYPTION_KEYS."
            ) from None


def sha256(text: str) -> bytes:
    """The 32 bytes by which a token or key is indexed: fixed in length however long the text is."""
    return hashlib.sha256(text.encode()).digest()
