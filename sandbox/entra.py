"""Entra ID: OpenID discovery, tokens for client credentials, and for people who signed in (sandbox/people.py).

Source: entra-docs, identity-platform/v2-oauth2-client-creds-grant-flow.md.

msal's `ConfidentialClientApplication` works unchanged, given `authority="https://localhost:PORT/TENANT"`,
`verify=CA_FILE` and `instance_discovery=False`; without the last it asks login.microsoftonline.com about the host.
"""

import hashlib
import hmac
import time
import uuid
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from sandbox.identity import Identity
from sandbox.memory import Memory
from sandbox.people import BadRequest, People
from sandbox.wire import Answer, Incoming, RefusedError


class Entra:
    """Gives out bearer tokens and recognises them again, across restarts too: a token carries its own signature."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._people = People(identity)

    def discovery(self, memory: Memory, call: Incoming) -> Answer:
        """GET /{tenant}/v2.0/.well-known/openid-configuration."""
        self._check_tenant(call)
        base = f"{call.base_url}/{self._identity.tenant}"
        return Answer(
            200,
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            },
        )

    def keys(self, memory: Memory, call: Incoming) -> Answer:
        """GET /{tenant}/discovery/v2.0/keys: what was set over the admin path, or the keys of people's id tokens."""
        self._check_tenant(call)
        own = {"keys": self._people.public_keys()}
        return Answer(200, own if memory.signing_keys is None else memory.signing_keys)

    def authorize(self, memory: Memory, call: Incoming) -> Answer:
        """GET /{tenant}/oauth2/v2.0/authorize: where a browser signs somebody in."""
        self._check_tenant(call)
        try:
            return self._people.authorize(call)
        except BadRequest as error:
            raise _error(400, error.error, error.code, error.words) from None

    def token(self, memory: Memory, call: Incoming) -> Answer:
        """POST /{tenant}/oauth2/v2.0/token with client_id, client_secret, grant_type; scope, or code and the like."""
        self._check_tenant(call)
        form = {name: values[0] for name, values in parse_qs(call.body.decode("utf-8", "replace")).items()}
        if form.get("grant_type") not in ("client_credentials", "authorization_code"):
            raise _error(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        if form.get("client_id", "").lower() != self._identity.client_id:
            raise _error(400, "unauthorized_client", 700016, "The application was not found in the directory.")
        if not hmac.compare_digest(form.get("client_secret", "").encode(), self._identity.client_secret.encode()):
            raise _error(401, "invalid_client", 7000215, "Invalid client secret provided.")
        if form["grant_type"] == "authorization_code":
            return self._for_code(form, call)
        _check_scope(form.get("scope", ""), call, self._identity.client_id)
        lifetime = memory.settings.token_lifetime
        token = self._sign(f"{int(time.time()) + lifetime}.{memory.token_generation}.{uuid.uuid4().hex}")
        body = {"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token}
        return Answer(200, body, {"Cache-Control": "no-store"})

    def _for_code(self, form: dict[str, str], call: Incoming) -> Answer:
        try:
            body = self._people.exchange(form, f"{call.base_url}/{self._identity.tenant}/v2.0")
        except BadRequest as error:
            raise _error(400, error.error, error.code, error.words) from None
        return Answer(200, body, {"Cache-Control": "no-store"})

    def recognises(self, memory: Memory, authorization: str) -> bool:
        """Whether an Authorization header carries a token that was given out, has not expired and is not revoked."""
        scheme, _, token = authorization.partition(" ")
        claims = token.rpartition(".")[0]
        if scheme.lower() != "bearer" or not hmac.compare_digest(self._sign(claims).encode(), token.encode()):
            return False
        expires, generation, _ = claims.split(".")
        return int(expires) > time.time() and int(generation) == memory.token_generation

    def _sign(self, claims: str) -> str:
        return f"{claims}.{hmac.new(self._identity.signing_key.encode(), claims.encode(), hashlib.sha256).hexdigest()}"

    def _check_tenant(self, call: Incoming) -> None:
        tenant = call.params["tenant"].lower()
        if tenant != self._identity.tenant:
            raise _error(400, "invalid_tenant", 90002, f"Tenant '{tenant}' not found.")


def _check_scope(scope: str, call: Incoming, client_id: str) -> None:
    """A token is for the organisation or, asked for by an application's id, for the application itself."""
    if scope == f"{client_id}/.default":
        return
    # The organisation and the sign-in share a host here; Entra too tolerates a second slash before `.default`.
    resource = urlsplit(scope.removesuffix("/.default").rstrip("/"))
    if not scope.endswith("/.default"):
        raise _error(400, "invalid_scope", 1002012, "The scope must end in '/.default' for client credentials.")
    port = urlsplit(call.base_url).port
    if resource.scheme != "https" or resource.hostname not in ("localhost", "127.0.0.1") or resource.port != port:
        raise _error(400, "invalid_resource", 500011, "The resource principal was not found in the tenant.")


def _error(status: int, error: str, code: int, description: str) -> RefusedError:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    body = {
        "error": error,
        "error_description": f"AADSTS{code}: {description}",
        "error_codes": [code],
        "timestamp": now,
        "trace_id": str(uuid.uuid4()),
        "correlation_id": str(uuid.uuid4()),
    }
    return RefusedError(Answer(status, body))
