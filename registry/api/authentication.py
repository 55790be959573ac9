"""`Authorization: Bearer <key>`: the key of one app."""

from typing import Any, cast

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from registry.api.limits import refuse_strangers
from registry.models import ApiKey
from registry.services.keys import find_key
from registry.states import KeyKind


class Caller:
    """Who makes the request: one app, by one of its keys."""

    is_authenticated = True

    def __init__(self, key: ApiKey) -> None:
        self.key = key
        self.app = key.app


class BearerKeyAuthentication(BaseAuthentication):
    """Finds the key by its hash. Errors: 401 where it is missing, malformed, unknown or revoked."""

    def authenticate(self, request: Request) -> tuple[Caller, ApiKey] | None:
        scheme, _, credentials = get_authorization_header(request).decode("latin-1").partition(" ")
        if not scheme:
            return None
        key = find_key(credentials.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            refuse_strangers(request._request)  # noqa: SLF001 the headers' carrier
            raise AuthenticationFailed("The key is unknown or revoked. Send it as: Authorization: Bearer <key>.")
        return Caller(key), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="tokenhub"'


class ServerKey(BasePermission):
    """Only a server key gets in. A mobile key lies in every copy of the app, and gets 403."""

    message = "This needs a server key: a mobile key can be read out of the app by anybody."

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user) and caller_of(request).key.kind == KeyKind.SERVER


def caller_of(request: Request) -> Caller:
    """The authenticated caller of a request that passed the permission check."""
    return cast("Caller", request.user)
