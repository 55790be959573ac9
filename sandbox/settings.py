"""What can be set while the sandbox runs: times, and which variant of an undocumented behaviour it plays."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

# The variants of what Microsoft's documentation leaves open; the first of each is the default.
CHOICES: dict[str, tuple[str, ...]] = {
    "signature_encoding": ("hex", "base64", "base64url"),
    "signature_key": ("utf8", "base64"),
    "callback_header": ("x-ms-callback-url", "x-ms-status-callback-url"),
    "batch_bad_item": ("refuse", "accept"),
    "unauthorized_registration": ("pending", "refuse", "fail"),
    "unauthorized_cleanup": ("refuse", "accept"),
    "failure_reason_style": ("code", "blanks", "sentence"),
    "change_tracking": ("on", "ignored", "refused", "denied"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All times are in seconds.

    - `processing_delay`, `cleanup_delay`: from a 202 to the moment the registration or cleanup takes effect.
    - `latency`: how long every answer of Microsoft's side takes.
    - `token_lifetime`: `expires_in` of the access tokens made from now on.
    - `signature_encoding`, `signature_key`: how a callback's HMAC is written, and how its key is made of the ApiToken.
    - `callback_header`: the name of the header that is looked at (the documentation has both).
    - `batch_cleanup_supported`: False plays today's sample, one object per call, and refuses an array with 400.
    - `batch_bad_item`: one bad item makes the whole batch 400 (`refuse`), or is swallowed and stays pending (`accept`).
    - `unauthorized_registration`: a wrong ApiToken is accepted and stays pending for ever, as documented (`pending`),
      is answered with 400 (`refuse`), or fails with ApiTokenNotValid (`fail`).
    - `unauthorized_cleanup`: 400 (`refuse`), or 202 and nothing happens (`accept`).
    - `failure_reason_style`: the reason as a plain code, with the documentation's stray blanks, or as a sentence.
    - `change_tracking`: of Dataverse's tables: switched on; or off, and the preference ignored or the request refused
      with 400; or the reader may not read the whole organisation (`denied`, 403).
    - `delta_lifetime`: how long the link that asks for changes is good for.
    """

    processing_delay: float = 0.5
    cleanup_delay: float = 0.5
    latency: float = 0.0
    token_lifetime: int = 3600
    batch_cleanup_supported: bool = True
    signature_encoding: str = "hex"
    signature_key: str = "utf8"
    callback_header: str = "x-ms-callback-url"
    batch_bad_item: str = "refuse"
    unauthorized_registration: str = "pending"
    unauthorized_cleanup: str = "refuse"
    failure_reason_style: str = "code"
    change_tracking: str = "on"
    delta_lifetime: float = 7 * 86400.0

    def changed(self, changes: dict[str, Any]) -> "Settings":
        """A copy with `changes` applied; ValueError names the first setting that is unknown or has a bad value."""
        known = {field.name: field.type for field in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"there is no setting {name!r}")
            _check(name, value, known[name])
        return replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        """Every setting by its name."""
        return asdict(self)


def _check(name: str, value: object, kind: object) -> None:
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise ValueError(f"{name} is one of {', '.join(CHOICES[name])}")
    elif kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is true or false")
    elif isinstance(value, bool) or not isinstance(value, int | float if kind is float else int) or value < 0:
        raise ValueError(f"{name} is a number, not below 0")
