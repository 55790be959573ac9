"""Entra ID's sign-in of people: OpenID Connect's authorization code flow with PKCE.

Source: entra-docs, identity-platform/v2-oauth2-auth-code-flow.md, id-token-claims-reference.md.

Whoever sits before the browser says who they are and in which groups: the page is a form, and there is no password.
"""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.identity import Identity
from sandbox.wire import Answer, Incoming

LIFETIME = 600  # seconds that a code is good for
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Nothing personal is asked for: the object id is made of the name, so that a person stays the same.
PEOPLE = uuid.UUID("6f0f1d4c-1c1a-4b55-9df7-0d7a2f1a0c11")

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in (sandbox)</title>
<h1>Sign in</h1><p>The sandbox's stand-in for Microsoft Entra ID. There is no password: say who you are.</p>
<form>{hidden}
<p><label>User name <input name="upn" value="vera@contoso.example" required></label>
<p><label>Groups, separated by blanks <input name="groups"></label>
<p><button>Sign in</button></form></html>"""


class BadRequest(Exception):
    """An OAuth 2.0 error code and Entra's number and words for it."""

    def __init__(self, error: str, code: int, words: str) -> None:
        super().__init__(words)
        self.error, self.code, self.words = error, code, words


@dataclass(frozen=True)
class Code:
    """What was asked for when a code was given out, and by whom."""

    asked: Mapping[str, str]
    expires: float


class People:
    """Gives out codes to browsers, and id tokens for them."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._codes: dict[str, Code] = {}

    def authorize(self, call: Incoming) -> Answer:
        """GET …/authorize: the page; sent with a name, the redirect with a code. Raises BadRequest."""
        asked = dict(parse_qsl(call.query))
        self._check(asked)
        if not asked.get("upn"):
            hidden = "".join(
                f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in asked.items()
            )
            return Answer(200, PAGE.format(hidden=hidden).encode(), {"Content-Type": "text/html; charset=utf-8"})
        code = uuid.uuid4().hex
        self._codes[code] = Code(asked, time.time() + LIFETIME)
        back = f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked.get('state', '')})}"
        return Answer(302, None, {"Location": back, "Cache-Control": "no-store"})

    def exchange(self, form: Mapping[str, str], issuer: str) -> dict[str, Any]:
        """What the token endpoint answers for a code; it is good once. Raises BadRequest."""
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.expires < time.time():
            raise BadRequest("invalid_grant", 54005, "OAuth2 Authorization code was already redeemed or is unknown.")
        if form.get("redirect_uri") != code.asked["redirect_uri"]:
            raise BadRequest("invalid_grant", 50011, "The redirect URI does not match the one that was asked with.")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not hmac.compare_digest(challenge, code.asked["code_challenge"]):
            raise BadRequest("invalid_grant", 501481, "The Code_Verifier does not match the code_challenge.")
        return {
            "token_type": "Bearer",
            "scope": code.asked["scope"],
            "expires_in": 3600,
            "access_token": uuid.uuid4().hex,
            "id_token": self._id_token(code.asked, issuer),
        }

    def public_keys(self) -> list[dict[str, Any]]:
        """The keys that id tokens are signed with."""
        key: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return [{**key, "use": "sig", "kid": "sandbox", "alg": "RS256"}]

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def _check(self, asked: Mapping[str, str]) -> None:
        if asked.get("client_id", "").lower() != self._identity.client_id:
            raise BadRequest("unauthorized_client", 700016, "The application was not found in the directory.")
        if urlsplit(asked.get("redirect_uri", "")).hostname not in LOOPBACK:
            raise BadRequest("invalid_request", 50011, "The redirect URI is not registered for the application.")
        if asked.get("response_type") != "code" or "openid" not in asked.get("scope", "").split():
            raise BadRequest("unsupported_response_type", 700054, "Only codes for the scope openid are given out.")
        if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
            raise BadRequest("invalid_request", 9002325, "Proof Key for Code Exchange is required.")

    def _id_token(self, asked: Mapping[str, str], issuer: str) -> str:
        now = int(time.time())
        upn = asked["upn"]
        claims = {
            "iss": issuer,
            "aud": self._identity.client_id,
            "tid": self._identity.tenant,
            "oid": str(uuid.uuid5(PEOPLE, upn)),
            "sub": hashlib.sha256(f"{self._identity.client_id}{upn}".encode()).hexdigest(),
            "preferred_username": upn,
            "name": upn.partition("@")[0].title(),
            "email": upn,
            "groups": asked.get("groups", "").split(),
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "ver": "2.0",
            **({"nonce": asked["nonce"]} if "nonce" in asked else {}),
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "sandbox"})
