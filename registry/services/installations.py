"""An installation's own secret: whoever leaks its id leaks nothing.

A mobile key is the same in every copy of an app, so an installation id would be all that stands between a phone and
whoever learns of it. Where the app has it so, the first answer to a phone hands out a secret, and every later call with
a mobile key has to show it. Only its hash is kept.

A phone that never got the answer, or lost it before it could show it, is handed out another as long as it still posts
the push token that we know: nobody else has that.
"""

import secrets
from hmac import compare_digest

from registry.crypto import sha256
from registry.models import Device

PREFIX = "thub_ins_"


class NotYourInstallation(Exception):
    """The call does not show the installation's secret."""


def new_secret() -> str:
    """A secret of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def shows_secret(device: Device, shown: str) -> bool:
    """Whether `shown` is the device's secret."""
    return bool(device.secret_hash) and compare_digest(bytes(device.secret_hash), sha256(shown))


def prove(device: Device, shown: str) -> None:
    """Pass a call that shows the secret, or whose device has none. Raises NotYourInstallation."""
    if device.secret_hash and not shows_secret(device, shown):
        raise NotYourInstallation


def admit(device: Device, shown: str, token: str) -> str:
    """Pass a launch with `token`, or raise NotYourInstallation. Returns a secret to hand out, or nothing.

    The caller, who holds the device's lock, stores the fields `FIELDS`.
    """
    if shows_secret(device, shown):
        device.secret_shown = True
        return ""
    if device.secret_hash and (device.secret_shown or device.token != token):
        raise NotYourInstallation
    return hand_out(device)


def hand_out(device: Device) -> str:
    """A new secret for the device; the caller stores the fields `FIELDS`."""
    secret = new_secret()
    device.secret_hash, device.secret_shown = sha256(secret), False
    return secret


FIELDS = ("secret_hash", "secret_shown")
