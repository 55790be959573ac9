"""Which of two posts of one installation is the later: posts overtake each other on their way.

An app may number its posts; the numbers only grow. Without one, the time at which the user's token was issued tells as
much of who is signed in. What is older than the newest that we know was delayed on its way.
"""

import time

from registry.models import Device

CLOCK_DIFFERENCE = 30  # seconds that the clocks of a token's issuer and of ours may differ

FIELDS = ("sequence", "user_tokens_from")


class Stale(Exception):
    """The device knows of a later post."""

    def __init__(self, device: Device) -> None:
        super().__init__("a later post came first")
        self.device = device


def advance(device: Device, sequence: int | None, user_token_issued_at: int | None = None) -> list[str]:
    """Note the number of a post, and when its user token was issued; return the fields that changed, to be stored.

    Raises Stale where the device knows of a later post.
    """
    if sequence is not None and device.sequence is not None:
        late = sequence < device.sequence
    else:
        late = user_token_issued_at is not None and user_token_issued_at < device.user_tokens_from
    if late:
        raise Stale(device)
    changed = []
    if sequence is not None and sequence != device.sequence:
        device.sequence = sequence
        changed.append("sequence")
    if user_token_issued_at is not None and user_token_issued_at > device.user_tokens_from:
        device.user_tokens_from = user_token_issued_at
        changed.append("user_tokens_from")
    return changed


def sign_out(device: Device) -> None:
    """From now on only a user token that was issued later signs anybody in. The caller stores `FIELDS`."""
    device.user_tokens_from = max(device.user_tokens_from + 1, int(time.time()) - CLOCK_DIFFERENCE)
