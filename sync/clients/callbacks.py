"""CI-J's callback: a hint, given once, that an outcome is there.

Source: MicrosoftDocs/customer-insights, ci-docs/journeys/developer-push-device-registration.md. The page gives the
header two names and does not say how the signature is encoded; the signature covers the URL only, so the status in
the body proves nothing. A callback therefore only wakes the poll.
"""

import base64
import contextlib
import hmac
import json
from dataclasses import dataclass

SECRET_HEADER = "X-Tokenhub-Callback"  # noqa: S105 the name of a header


@dataclass(frozen=True)
class Callback:
    """The URL that CI-J shall post to, and the secret that it shall send along."""

    url: str
    secret: str
    both_names: bool = False

    def headers(self) -> dict[str, str]:
        """The headers of a registration that ask for the callback."""
        names = ["x-ms-callback-url", "x-ms-status-callback-url"] if self.both_names else ["x-ms-callback-url"]
        return dict.fromkeys(names, self.url) | {"x-ms-callback-url-headers": json.dumps({SECRET_HEADER: self.secret})}

    def is_signed(self, signature: str, api_token: str) -> bool:
        """Whether `signature` is HMAC-SHA256 of the URL with the ApiToken, in any encoding that it may have."""
        given = signature.strip()
        given = given.lower() if len(given) == 64 else given  # hex
        # Every form is compared, so that the time tells nothing about which one it was.
        return (
            sum(
                hmac.compare_digest(form.encode(), given.encode(errors="replace"))
                for form in self._signatures(api_token)
            )
            > 0
        )

    def _signatures(self, api_token: str) -> set[str]:
        keys = [api_token.encode()]
        with contextlib.suppress(ValueError):
            keys.append(base64.b64decode(api_token, validate=True))
        forms: set[str] = set()
        for key in keys:
            digest = hmac.digest(key, self.url.encode(), "sha256")
            forms |= {digest.hex(), base64.b64encode(digest).decode(), base64.urlsafe_b64encode(digest).decode()}
        return forms | {form.rstrip("=") for form in forms}
