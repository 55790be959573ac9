"""Who is signed in on the phone that posts, by the app's identity policy and the caller's key."""

from collections.abc import Callable
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from registry.api.authentication import Caller, caller_of
from registry.api.problems import (
    SigningKeysProblem,
    UserNotAllowedProblem,
    UserTokenExpiredProblem,
    UserTokenNeededProblem,
    UserTokenRefusedProblem,
)
from registry.models import MobileApp
from registry.services.errors import InvalidInput
from registry.services.ingest import LaunchUser
from registry.services.user_tokens import KeysUnknown, SignedUser, TokenExpired, TokenRefused, signed_user
from registry.states import Identity, KeyKind

CONSENTS = ("push_consent", "tracking_consent")


def who(
    caller: Caller, data: dict[str, Any], prove: Callable[[MobileApp, str, str], SignedUser] = signed_user
) -> dict[str, Any]:
    """The fields of a Launch that say who is signed in, from a validated post. Raises problems.

    `prove` says whom a token names.
    """
    posted = data.get("user")
    said = {name: value for name, value in (posted or {}).items() if name not in ("id", "token")}
    identity = caller.app.identity
    trusted = caller.key.kind == KeyKind.SERVER or identity == Identity.UNVERIFIED
    if posted is not None and identity == Identity.BACKEND and not trusted:
        raise UserNotAllowedProblem
    if posted is not None and "token" in posted:
        signed = _signed(lambda: prove(caller.app, posted["token"], data["installation_id"]))
        user = LaunchUser(signed.external_id, {**signed.given, **said})
        return {"user": user, "user_token_issued_at": signed.issued_at}
    if posted is not None:
        if not trusted:
            raise UserTokenNeededProblem
        return {"user": LaunchUser(posted["id"], said)}
    # A caller that may not name users and leaves the field out says nothing about who is signed in.
    keep = not trusted and "user" not in data
    unproven = identity == Identity.JWT and not caller.app.installation_secrets
    return {"user": None, "keep_user": keep, "new_token_signs_out": keep and unproven}


def shown_secret(request: Request) -> str | None:
    """What the call shows to prove its installation, maybe nothing; None where it need not."""
    return str(request.headers.get("Installation-Secret", "")) if has_to_prove(caller_of(request)) else None


def has_to_prove(caller: Caller) -> bool:
    """Whether a call has to show that its installation is its own."""
    return caller.key.kind != KeyKind.SERVER and caller.app.installation_secrets


def _signed(proof: Callable[[], SignedUser]) -> SignedUser:
    try:
        return proof()
    except TokenExpired as error:
        raise UserTokenExpiredProblem(f"The user's token was not accepted. {error}") from None
    except TokenRefused as error:
        raise UserTokenRefusedProblem(f"The user's token was not accepted. {error}") from None
    except KeysUnknown:
        raise SigningKeysProblem from None
    except InvalidInput as error:
        raise serializers.ValidationError({error.field: [error.message]}) from None
