"""Every error as `application/problem+json` (RFC 9457), with the fields named."""

import logging
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from registry.api.parsers import TooLarge

logger = logging.getLogger(__name__)

RETRY_AFTER = 5  # seconds
# A small body can hold very many mistakes, and errors repeat what was posted: an answer must not grow with either.
MAX_ERRORS = 20
MAX_DETAIL = 500  # characters
MAX_NAME = 100  # characters


# Stable identifiers, one for each kind of error; a client may compare them.
TYPES = {
    HTTPStatus.BAD_REQUEST: "urn:tokenhub:problem:invalid-request",
    HTTPStatus.UNAUTHORIZED: "urn:tokenhub:problem:unauthorized",
    HTTPStatus.FORBIDDEN: "urn:tokenhub:problem:forbidden",
    HTTPStatus.NOT_FOUND: "urn:tokenhub:problem:not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "urn:tokenhub:problem:method-not-allowed",
    HTTPStatus.NOT_ACCEPTABLE: "urn:tokenhub:problem:not-acceptable",
    HTTPStatus.CONFLICT: "urn:tokenhub:problem:shared-installation",
    HTTPStatus.TOO_MANY_REQUESTS: "urn:tokenhub:problem:too-many-requests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "urn:tokenhub:problem:internal-error",
    HTTPStatus.SERVICE_UNAVAILABLE: "urn:tokenhub:problem:unavailable",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "urn:tokenhub:problem:too-large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "urn:tokenhub:problem:unsupported-media-type",
}


class UserNotAllowedProblem(exceptions.PermissionDenied):
    problem_type = "urn:tokenhub:problem:user-not-allowed"
    default_detail = (
        "This app's identity policy is 'backend': only a server key may name a user. "
        "Post without the field 'user', and attach the user from your own server."
    )


class UserTokenNeededProblem(exceptions.PermissionDenied):
    problem_type = "urn:tokenhub:problem:user-not-allowed"
    default_detail = (
        "This app's identity policy is 'jwt': with a mobile key a user is named by a signed token alone, "
        "in the field 'user.token'."
    )


class UserTokenRefusedProblem(exceptions.PermissionDenied):
    problem_type = "urn:tokenhub:problem:user-token-refused"


class UserTokenExpiredProblem(exceptions.PermissionDenied):
    problem_type = "urn:tokenhub:problem:user-token-expired"


class SigningKeysProblem(exceptions.APIException):
    status_code = 503
    problem_type = "urn:tokenhub:problem:signing-keys-unavailable"
    default_detail = "The key that the user's token is signed with is being fetched. Nothing was changed; post again."


class InstallationSecretProblem(exceptions.PermissionDenied):
    problem_type = "urn:tokenhub:problem:installation-secret"
    default_detail = (
        "This installation is secured: show the secret that was handed out with its first answer, in the header "
        "Installation-Secret. Where it is lost, make a new installation id and post again."
    )


class DropInOffProblem(exceptions.PermissionDenied):
    problem_type = "urn:tokenhub:problem:drop-in-off"
    default_detail = (
        "This app takes no calls of this kind: its drop-in paths are switched off, as they are for every app under the "
        "identity policy 'jwt'. Post to /api/v1/devices."
    )


class SharedInstallationProblem(exceptions.APIException):
    status_code = 409
    default_detail = (
        "Two phones post this installation id in turn, as happens when one is restored from the other's backup. "
        "Nothing was changed. Make a new installation id on this phone and post again."
    )


class UnavailableProblem(exceptions.APIException):
    status_code = 503
    default_detail = "The database does not answer. Nothing was changed, or it was and repeating it changes nothing."


def problem(status: HTTPStatus, detail: str) -> JsonResponse:
    """A problem as an answer of Django's, where no view of the API was reached or it broke."""
    kind = TYPES.get(status, "about:blank")
    body = {"type": kind, "title": status.phrase, "status": status.value, "detail": detail}
    return JsonResponse(body, status=status.value, content_type="application/problem+json")


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what a view raised into a problem; None (a 500) for what no client caused."""
    if isinstance(exc, RequestDataTooBig):
        exc = TooLarge()
    if isinstance(exc, (OperationalError, InterfaceError)):
        logger.error("the database does not answer: %s", type(exc.__cause__ or exc).__name__)
        exc = UnavailableProblem()
    response = drf_exception_handler(exc, context)
    if response is None:
        return None
    status = HTTPStatus(response.status_code)
    problem: dict[str, Any] = {
        "type": getattr(exc, "problem_type", TYPES.get(status, "about:blank")),
        "title": status.phrase,
        "status": status.value,
    }
    if isinstance(exc, exceptions.ValidationError):
        errors = field_errors(exc.detail)
        problem["detail"] = "; ".join(f"{error['field']}: {error['detail']}" for error in errors)
        problem["errors"] = errors
    else:
        problem["detail"] = _detail(exc)
    response.data = _encodable(problem)
    response.content_type = "application/problem+json"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER)
    return response


def _encodable(value: Any) -> Any:
    """The same without lone surrogates: an error names the field as it was posted, and JSON can post anything."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return {key: _encodable(item) for key, item in value.items()} if isinstance(value, dict) else value


def _detail(exc: Exception) -> str:
    if isinstance(exc, exceptions.Throttled):
        return "Too many requests. The headers RateLimit-Policy and RateLimit say how many may be made."
    if isinstance(exc, exceptions.APIException):
        return str(exc.detail)
    return str(exc) or ("There is no such thing." if isinstance(exc, Http404) else "That is not allowed.")


def field_errors(detail: Any) -> list[dict[str, str]]:
    """DRF's nested errors as one entry a field, e.g. `user.email` or `[3].status`: the first MAX_ERRORS of them."""
    return [
        {"field": path or "body", "detail": _cut(text, MAX_DETAIL)}
        for path, text in islice(_flattened(detail, ""), MAX_ERRORS)
    ]


def _flattened(detail: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(detail, dict):
        for name, below in detail.items():
            at_object = name == "non_field_errors"
            yield from _flattened(below, path if at_object else _join(path, name))
    elif isinstance(detail, list):
        for number, below in enumerate(detail):
            if isinstance(below, (dict, list)):
                yield from _flattened(below, f"{path}[{number}]")
            else:
                yield path, str(below)
    else:
        yield path, str(detail)


def _join(path: str, name: Any) -> str:
    if isinstance(name, int):
        return f"{path}[{name}]"
    spelled = _cut(name, MAX_NAME)
    return f"{path}.{spelled}" if path else spelled


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
