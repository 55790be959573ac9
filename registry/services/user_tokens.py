"""Who is signed in, by a token (JWT) that the customer's own identity provider signed.

A mobile key lies in every copy of the app and proves nothing about its user; this does. What a token must be is written
down in the app's TokenIssuer: who signed it and for whom, with which algorithms, until when. Nothing in the token's
own header chooses how it is checked, except the id of one of the issuer's keys (RFC 8725, sections 3.1 and 3.2).

Keys of a JWKS are fetched by workers alone: no phone waits for a call to the outside.

A token that was found good is remembered for as long as the issuer is what it was and the token has not expired: the
same one comes with every launch of an hour, and its signature costs more than the rest of the launch.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from registry.crypto import sha256
from registry.models import MobileApp, TokenIssuer
from registry.ports import announce
from registry.services.errors import InvalidInput
from registry.services.normalise import MAX_USER_ID, email_address, is_user_id, phone_number

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SYMMETRIC = ("HS256", "HS384", "HS512")
MAX_KEYS = 50
MIN_RSA = 2048  # bits: RFC 7518, section 3.3
MIN_SECRET = 32  # bytes: RFC 7518, section 3.2, for HS256

type PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey
type Key = PublicKey | bytes


class TokenRefused(Exception):
    """The token does not prove who is signed in. The text says why, without quoting it."""


class TokenExpired(TokenRefused):
    """It did once: the app has to fetch a new one."""


class KeysUnknown(Exception):
    """It is signed with a key that was not fetched yet; workers are asked to. It may be good a moment later."""


@dataclass(frozen=True)
class SignedUser:
    """What a good token says. `given` holds the keys to match by that it vouches for, normalised."""

    external_id: str
    given: Mapping[str, str]
    issued_at: int | None  # seconds since 1970


@dataclass(frozen=True)
class _Proven:
    """A token that was found good: whom it names, for which installation, and until when."""

    user: SignedUser
    installation: Any
    expires_at: float


class _Memory:
    """What was proven lately, by the token's hash. Bounded: of two halves the older one is forgotten as a whole."""

    HALF = 5_000

    def __init__(self) -> None:
        self._younger: dict[bytes, _Proven] = {}
        self._older: dict[bytes, _Proven] = {}

    def get(self, token_hash: bytes) -> _Proven | None:
        return self._younger.get(token_hash) or self._older.get(token_hash)

    def keep(self, token_hash: bytes, proven: _Proven) -> None:
        if len(self._younger) >= self.HALF:
            self._older, self._younger = self._younger, {}
        self._younger[token_hash] = proven


@dataclass(frozen=True)
class IssuerKeys:
    """An issuer with its keys made ready, as one process keeps them for some seconds.

    `basis` is all that a token's proof rests on; what is remembered as proven goes when it changes.
    """

    issuer: TokenIssuer
    basis: tuple[Any, ...]
    keys: Sequence[tuple[str | None, Key]]  # by their id (kid), where they have one
    read_at: float
    memory: _Memory = field(default_factory=_Memory)


def signed_user(app: MobileApp, token: str, installation_id: str) -> SignedUser:
    """The user whom `token` names, for this installation of `app`.

    Raises TokenRefused, TokenExpired and KeysUnknown; InvalidInput where a claim cannot be used.
    """
    known = _issuer_keys(app)
    try:
        return _proven(known, app, token, installation_id)
    except _NoSuchKey:
        known = _issuer_keys(app, newer_than=known.read_at)
    try:
        return _proven(known, app, token, installation_id)
    except _NoSuchKey:
        if _keys_are_on_their_way(known.issuer):
            raise KeysUnknown from None
        raise TokenRefused("It is signed with none of the issuer's keys.") from None


def user_of_known_issuer(app: MobileApp, token: str, installation_id: str) -> SignedUser:
    """The same without a look into the database: KeysUnknown also where this process has not read the issuer lately."""
    known = _processes_issuers.get(app.pk)
    if known is None or not _is_fresh(known):
        raise KeysUnknown
    try:
        return _proven(known, app, token, installation_id)
    except _NoSuchKey:
        raise KeysUnknown from None


class _NoSuchKey(Exception):
    """None of the keys at hand may have signed the token."""


def _proven(known: IssuerKeys, app: MobileApp, token: str, installation_id: str) -> SignedUser:
    token_hash = sha256(token)
    proven = known.memory.get(token_hash)
    if proven is None:
        proven = _prove(known, app, token, installation_id)
        known.memory.keep(token_hash, proven)
    elif proven.expires_at <= time.time() - known.issuer.leeway:
        raise TokenExpired("It has expired.")
    if known.issuer.installation_claim and proven.installation != installation_id:
        raise TokenRefused("It was issued for another installation.")
    return proven.user


def _prove(known: IssuerKeys, app: MobileApp, token: str, installation_id: str) -> _Proven:
    try:
        algorithm, kid = _header(token.partition(".")[0])
    except jwt.InvalidTokenError:
        raise TokenRefused("It is not a signed token (JWT).") from None
    if not isinstance(algorithm, str) or algorithm not in known.issuer.algorithms:
        raise TokenRefused(f"Its algorithm is not among: {', '.join(known.issuer.algorithms)}.")
    candidates = _candidates(known, kid, algorithm)
    if not candidates:
        raise _NoSuchKey
    claims = _verified(token, known.issuer, algorithm, candidates)
    installation = claims.get(known.issuer.installation_claim)
    if known.issuer.installation_claim and installation != installation_id:
        raise TokenRefused("It was issued for another installation.")
    return _Proven(_read(claims, known.issuer, app), installation, int(claims["exp"]))


@lru_cache(maxsize=64)
def _header(encoded: str) -> tuple[Any, Any]:
    """Algorithm and key id of a token's header, which is the same in all tokens of a key."""
    header = jwt.get_unverified_header(f"{encoded}.e30.")
    return header.get("alg"), header.get("kid")


def parse_keys(issuer: TokenIssuer) -> list[tuple[str | None, Key]]:
    """The issuer's keys with their ids. Raises InvalidInput where those that a person typed in are unusable."""
    if issuer.secret:
        return [(None, issuer.secret.encode())]
    if issuer.public_keys:
        return [(None, key) for key in pem_keys(issuer.public_keys)]
    return jwks_keys(issuer.keys)


def pem_keys(text: str) -> list[PublicKey]:
    """Every public key of a PEM text. Raises InvalidInput: none, unreadable, private, or too weak."""
    end = "-----END PUBLIC KEY-----"
    found = []
    for block in text.split(end)[:-1]:
        try:
            key = serialization.load_pem_public_key((block.strip() + "\n" + end).encode())
        except ValueError:
            raise InvalidInput("public_keys", "A key cannot be read: paste PEM public keys.") from None
        found.append(_strong(key))
    if not found or text.rpartition(end)[2].strip():
        raise InvalidInput("public_keys", "Paste PEM public keys (-----BEGIN PUBLIC KEY-----), nothing else.")
    return found


def jwks_keys(document: Any) -> list[tuple[str | None, Key]]:
    """The usable signing keys of a JSON Web Key Set (RFC 7517); others in it are for other uses."""
    listed = document.get("keys") if isinstance(document, dict) else None
    found: list[tuple[str | None, Key]] = []
    for entry in (listed if isinstance(listed, list) else [])[:MAX_KEYS]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
            continue
        try:
            key = _strong(jwt.PyJWK(entry).key)
        except (jwt.PyJWTError, InvalidInput, ValueError, TypeError, AttributeError):
            continue
        kid = entry.get("kid")
        found.append((kid if isinstance(kid, str) else None, key))
    return found


def _strong(key: Any) -> PublicKey:
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA:
        raise InvalidInput("public_keys", f"An RSA key is shorter than {MIN_RSA} bits.")
    if not isinstance(key, (RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey, Ed448PublicKey)):
        raise InvalidInput("public_keys", "A key is not a public RSA, EC or EdDSA key.")
    return key


_processes_issuers: dict[int, IssuerKeys] = {}


def _issuer_keys(app: MobileApp, newer_than: float = 0.0) -> IssuerKeys:
    """The app's issuer, at most some seconds old, and read anew where it must be newer than another reading.

    It is read anew when half of its time is over, as keys are: by the launch that reads its key, before the lane's have
    to (registry.services.keys).
    """
    now = time.monotonic()
    known = _processes_issuers.get(app.pk)
    if known and _is_fresh(known, part=0.5) and known.read_at > newer_than:
        return known
    issuer = TokenIssuer.objects.filter(app=app).first()
    if issuer is None:
        _processes_issuers.pop(app.pk, None)
        raise TokenRefused("This app reads no signed tokens: no issuer is set up for it.")
    basis = (*(getattr(issuer, name) for name in _BASIS), app.default_region)
    if known and known.basis == basis:
        known = replace(known, issuer=issuer, read_at=now)
    else:
        known = IssuerKeys(issuer, basis, parse_keys(issuer), now)
    _processes_issuers[app.pk] = known
    return known


# All of an issuer but when its keys were asked for.
_BASIS = (
    *("issuer", "audience", "jwks_url", "public_keys", "secret", "algorithms", "leeway", "keys"),
    *("user_claim", "email_claim", "phone_claim", "installation_claim", "trust_unmarked"),
)


def _is_fresh(known: IssuerKeys, part: float = 1.0) -> bool:
    return time.monotonic() < known.read_at + settings.TOKENHUB_KEY_CACHE.total_seconds() * part


def _candidates(known: IssuerKeys, kid: Any, algorithm: str) -> list[Key]:
    """The keys that may have signed so: the one of that id, and those without an id. A token without an id: any."""
    kinds = _KINDS[algorithm[:2]]
    named = (key for name, key in known.keys if kid is None or name is None or name == kid)
    return [key for key in named if isinstance(key, kinds)]


_KINDS: dict[str, tuple[type[Any], ...]] = {
    "RS": (RSAPublicKey,),
    "PS": (RSAPublicKey,),
    "ES": (EllipticCurvePublicKey,),
    "Ed": (Ed25519PublicKey, Ed448PublicKey),
    "HS": (bytes,),
}


def _keys_are_on_their_way(issuer: TokenIssuer) -> bool:
    """Have workers fetch the JWKS, which may hold the key by now, at most once in some seconds.

    Returns whether a fetch that was asked for is not over yet.
    """
    if not issuer.jwks_url:
        return False
    rested = Q(keys_asked_at__isnull=True) | Q(keys_asked_at__lt=Now() - settings.TOKENHUB_JWKS_MIN_INTERVAL)
    asked = TokenIssuer.objects.filter(rested, pk=issuer.pk).update(keys_asked_at=Now(), keys_due_at=Now())
    if asked:
        announce(["signing_keys"])
        return True
    fetched, last_asked = issuer.keys_fetched_at, issuer.keys_asked_at
    return last_asked is not None and (fetched is None or fetched < last_asked)


def _verified(token: str, issuer: TokenIssuer, algorithm: str, keys: Sequence[Key]) -> dict[str, Any]:
    for key in keys:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=issuer.leeway,
                options={"require": ["exp", "iss", "aud", issuer.user_claim], "verify_sub": False},
            )
        except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
            continue
        except jwt.ExpiredSignatureError:
            raise TokenExpired("It has expired.") from None
        except jwt.InvalidTokenError as error:
            raise TokenRefused(_REASONS.get(type(error), "It is malformed.")) from None
        except (TypeError, ValueError, OverflowError):
            raise TokenRefused("It is malformed.") from None
        else:
            return claims
    raise TokenRefused("Its signature is wrong.")


_REASONS: dict[type[Exception], str] = {
    jwt.ImmatureSignatureError: "It is not valid yet; or the clocks of its issuer and of tokenhub differ.",
    jwt.InvalidAudienceError: "Its audience (aud) is another.",
    jwt.InvalidIssuerError: "Its issuer (iss) is another.",
    jwt.MissingRequiredClaimError: "It lacks exp, iss, aud or the claim that holds the user's id.",
}


def _read(claims: dict[str, Any], issuer: TokenIssuer, app: MobileApp) -> SignedUser:
    external_id = claims[issuer.user_claim]
    if isinstance(external_id, int) and not isinstance(external_id, bool):
        external_id = str(external_id)
    if not isinstance(external_id, str) or not is_user_id(external_id):
        raise InvalidInput(
            "user.token", f"The claim {issuer.user_claim} is not a user id of 1 to {MAX_USER_ID} characters."
        )
    given = {}
    email = _vouched_for(claims, issuer, issuer.email_claim, "email_verified")
    if email:
        given["email"] = email_address("user.token", email)
    phone = _vouched_for(claims, issuer, issuer.phone_claim, "phone_number_verified")
    if phone:
        given["phone"] = phone_number("user.token", phone, app.default_region)
    issued_at = claims.get("iat")
    return SignedUser(external_id, given, int(issued_at) if issued_at is not None else None)


def _vouched_for(claims: dict[str, Any], issuer: TokenIssuer, name: str, mark: str) -> str:
    """The claim, where the issuer says that it is proven: messages follow an e-mail address or phone number, so one
    that its user typed in themselves would bring them somebody else's."""
    value = claims.get(name) if name else None
    verified = claims.get(mark, issuer.trust_unmarked)
    return value if isinstance(value, str) and (verified is True or verified == "true") else ""
