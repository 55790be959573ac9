"""Two phones with one installation id: the second was restored from a backup of the first.

Both post the id with a token of their own, and at every post the token would go to and fro. A token that comes back
again and again gives them away. From then on the one that is there stays for a while: the other phone is told to
make an installation id of its own.
"""

from django.conf import settings
from django.utils import timezone

from registry.models import Device


class SharedInstallation(Exception):
    """Another phone that posts this installation id has it for the time being."""


def note_token_change(device: Device, token_hash: bytes) -> None:
    """Count a token that comes back. Raises SharedInstallation where it comes back too soon once too often.

    The device still has its old token; the caller, who holds its lock, writes what changes here.
    """
    now = timezone.now()
    if bytes(device.former_token_hash) == token_hash:
        if device.shared_since and now - device.token_changed_at < settings.TOKENHUB_SHARED_HOLD:
            raise SharedInstallation
        _forget_old_returns(device)
        device.token_returns += 1
        device.token_returned_at = now
        if device.token_returns >= settings.TOKENHUB_SHARED_RETURNS:
            device.shared_since = device.shared_since or now
    else:
        _forget_old_returns(device)
    device.former_token_hash = bytes(device.token_hash)


FIELDS = ("former_token_hash", "token_returns", "token_returned_at", "shared_since")


def _forget_old_returns(device: Device) -> None:
    last = device.token_returned_at
    if last is not None and timezone.now() - last > settings.TOKENHUB_SHARED_WINDOW:
        device.token_returns, device.token_returned_at, device.shared_since = 0, None, None
