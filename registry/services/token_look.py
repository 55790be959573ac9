"""What would become of a user's token (JWT) if a phone posted it: for whoever sets an issuer up and asks why not.

Nothing is stored, and nobody is signed in by it. What a token says of itself is told as such where it proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt

from registry.models import MobileApp, TokenIssuer
from registry.services.errors import InvalidInput
from registry.services.user_tokens import KeysUnknown, SignedUser, TokenRefused, signed_user

SHOWN = 200  # characters of a claim


@dataclass(frozen=True)
class Claim:
    """One claim: what it says, what is expected of it, and whether they agree (None: either will do)."""

    name: str
    found: str
    expected: str = ""
    fits: bool | None = None


@dataclass(frozen=True)
class Look:
    """`user` is who would be signed in; without one, `why` says what is wrong. `claims` are as good as the token is."""

    user: SignedUser | None
    why: str = ""
    claims: list[Claim] = field(default_factory=list)


def look(app: MobileApp, token: str, installation_id: str = "") -> Look:
    """Read `token` as a launch of this installation would."""
    spelled = token.strip().removeprefix("Bearer ").strip()
    issuer = TokenIssuer.objects.filter(app=app).first()
    claims = _claims(spelled, issuer) if issuer else []
    try:
        return Look(signed_user(app, spelled, installation_id), claims=claims)
    except TokenRefused as error:
        return Look(None, str(error), claims)
    except InvalidInput as error:
        return Look(None, error.message, claims)
    except KeysUnknown:
        why = "It is signed with a key that is not known yet. Workers fetch the JWKS URL now: try again in a moment."
        return Look(None, why, claims)


def _claims(token: str, issuer: TokenIssuer) -> list[Claim]:
    try:
        header = jwt.get_unverified_header(token)
        said = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, TypeError):
        return []
    audience, algorithm, user = said.get("aud"), header.get("alg"), issuer.user_claim
    audiences = audience if isinstance(audience, list) else [audience]
    found = [
        Claim("alg", _text(algorithm), ", ".join(issuer.algorithms), fits=algorithm in issuer.algorithms),
        Claim("kid", _text(header.get("kid"))),
        Claim("iss", _text(said.get("iss")), issuer.issuer, fits=said.get("iss") == issuer.issuer),
        Claim("aud", _text(audience), issuer.audience, fits=issuer.audience in audiences),
        Claim("exp", _time(said.get("exp")), "needed", fits="exp" in said),
        Claim(user, _text(said.get(user)), "the app's user id", fits=user in said),
    ]
    for name, mark in ((issuer.email_claim, "email_verified"), (issuer.phone_claim, "phone_number_verified")):
        if name and name in said:
            found += [Claim(name, _text(said[name])), _mark(said, mark, issuer)]
    if name := issuer.installation_claim:
        found.append(Claim(name, _text(said.get(name)), "the installation id"))
    return found


def _mark(said: Mapping[str, Any], mark: str, issuer: TokenIssuer) -> Claim:
    good = said.get(mark, issuer.trust_unmarked)
    expected = "true, or nothing" if issuer.trust_unmarked else "true"
    return Claim(mark, _text(said.get(mark)), f"{expected}: else it is not taken", fits=good is True or good == "true")


def _text(value: Any) -> str:
    return "nothing" if value is None else str(value)[:SHOWN]


def _time(value: Any) -> str:
    try:
        return f"{datetime.fromtimestamp(int(value), UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (TypeError, ValueError, OverflowError, OSError):
        return _text(value)
