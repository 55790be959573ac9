"""Setting up who signs the tokens that name an app's users."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Now

from registry.models import MobileApp, TokenIssuer
from registry.ports import announce
from registry.services.errors import InvalidInput
from registry.services.user_tokens import ASYMMETRIC, MIN_SECRET, SYMMETRIC, pem_keys

MAX_URL = 500  # characters


def set_token_issuer(app: MobileApp, issuer: TokenIssuer) -> TokenIssuer:
    """Store the app's issuer, in place of one that it may have. Raises InvalidInput.

    Web processes know of it within seconds (TOKENHUB_KEY_CACHE_SECONDS); workers fetch its JWKS at once.
    """
    check(issuer)
    issuer.app = app
    with transaction.atomic():
        TokenIssuer.objects.filter(app=app).delete()
        issuer.keys_due_at = None
        issuer.save(force_insert=True)
        if issuer.jwks_url:
            TokenIssuer.objects.filter(pk=issuer.pk).update(keys_asked_at=Now(), keys_due_at=Now())
            announce(["signing_keys"])
    return issuer


def check(issuer: TokenIssuer) -> None:
    """Raise InvalidInput for what could not prove anybody."""
    if not issuer.issuer.strip() or not issuer.audience.strip():
        raise InvalidInput("audience" if issuer.issuer.strip() else "issuer", "is needed: any token would do without.")
    if sum(map(bool, (issuer.jwks_url, issuer.public_keys, issuer.secret))) != 1:
        raise InvalidInput("jwks_url", "Give exactly one of a JWKS URL, public keys and a shared secret.")
    if issuer.jwks_url:
        _check_url(issuer.jwks_url)
    if issuer.public_keys:
        pem_keys(issuer.public_keys)
    if issuer.secret and len(issuer.secret.encode()) < MIN_SECRET:
        raise InvalidInput("secret", f"must be at least {MIN_SECRET} bytes long (RFC 7518), made by chance.")
    _check_algorithms(issuer.algorithms, SYMMETRIC if issuer.secret else ASYMMETRIC)
    try:
        # Django's own check of addresses knows no host without a dot, as there is inside of networks.
        issuer.clean_fields(exclude=["app", "jwks_url"])
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidInput(field, messages[0]) from None


def default_algorithms(issuer: TokenIssuer) -> list[str]:
    """What is allowed where nobody says: the common ones that fit the issuer's keys."""
    return ["HS256"] if issuer.secret else ["RS256", "ES256"]


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:  # a port or an IPv6 address that is none
        usable = False
    if not usable or not url.isascii() or len(url) > MAX_URL:
        raise InvalidInput("jwks_url", f"must be an https address of at most {MAX_URL} characters, without a password.")


def _check_algorithms(chosen: Sequence[str], allowed: Sequence[str]) -> None:
    # Both kinds at once is how a public key comes to be taken for a shared secret: RFC 8725, section 2.1.
    wrong = [name for name in chosen if name not in allowed]
    if wrong or not chosen:
        raise InvalidInput("algorithms", f"{', '.join(wrong) or 'nothing'} is not among: {', '.join(allowed)}.")
