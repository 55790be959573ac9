"""A lane in front of Django for the launch that changes nothing, which nearly every one is, and for the plain change.

It can be slow, and never wrong: it answers where one SELECT says that nothing is new, or where one round trip has
written a plain change, and hands every other request on as it came. What has a rule of its own is the ordinary path's
own code: the key, the limits, who is signed in. What repeats is not checked here, but compared: it is equal to what the
tables hold, which was checked on its way in.

1. the request has the common form, and its key is one that this process has read lately;
2. it is counted, and what goes on to Django is not counted again; where a limit is used up Django says so;
3. the body has the common form: no field, type or spelling that would have to be refused or normalised first;
4. who is signed in is known without the database;
5. the tables say the same (registry.services.repeats); or
6. it is valid as it is spelled, and is written in one round trip (registry.services.plain_changes).
"""

import io
import re
import time
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.http.request import split_domain_port, validate_host
from django.utils.module_loading import import_string
from rest_framework.exceptions import APIException

from registry.api.authentication import Caller
from registry.api.fields import INSTALLATION_ID, time_zones
from registry.api.identity import has_to_prove, who
from registry.api.limits import COUNTED, address_in, headers
from registry.api.parsers import unambiguous
from registry.api.serializers import LaunchSerializer, to_launch
from registry.models import MobileApp
from registry.services import correlation, limits
from registry.services.errors import InvalidInput
from registry.services.ingest import INFO_FIELDS, LAUNCHES, Launch, LaunchUser, Result
from registry.services.keys import known_key
from registry.services.normalise import device_token, email_address, is_user_id, phone_number
from registry.services.plain_changes import record_plainly
from registry.services.repeats import Found, compare
from registry.services.user_tokens import user_of_known_issuer
from registry.states import Platform

type Environ = dict[str, Any]
type StartResponse = Callable[..., Any]
type Header = tuple[str, str]
type Application = Callable[[Environ, StartResponse], Iterable[bytes]]

PATH = "/api/v1/devices"
ROUTE = PATH.removeprefix("/")  # as Django names it
MAX_BODY = 16 * 1024
MAX_USER_TOKEN = 8192
MAX_EMAIL = 254
NEEDED = {"installation_id", "platform", "token"}
BEARER = "Bearer "
# These add headers and do nothing else.
HEADERS_ONLY = (
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
PROTO = "HTTP_X_FORWARDED_PROTO"  # what SECURE_PROXY_SSL_HEADER names, where it is set


class Lane:
    """A WSGI application that answers what it can, and has `django` answer the rest.

    `seen` is told of what it answers (correlation id, method, route, status, seconds, result), and gives a header more.
    """

    def __init__(self, django: Application, seen: Callable[..., Header]) -> None:
        self._django, self._seen = django, seen

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        began = time.perf_counter()
        correlation_id = correlation.begin(environ.get("HTTP_TRACEPARENT", ""))
        with correlation.handling(correlation_id):
            answer = _answer(environ) if _is_common(environ) else None
            if answer is not None:
                result, body, told = answer
                status, line = (201, "201 Created") if result is Result.CREATED else (200, "200 OK")
                took = time.perf_counter() - began
                seen = self._seen(correlation_id, "POST", ROUTE, status, took, result.value)
                start_response(line, [*told, seen, ("Content-Length", str(len(body)))])
                return [body]
        return self._django(environ, start_response)


def _answer(environ: Environ) -> tuple[Result, bytes, list[Header]] | None:
    key = known_key(environ["HTTP_AUTHORIZATION"].removeprefix(BEARER))
    if key is None:
        return None
    counts = environ[COUNTED] = limits.count(limits.of_key(key, address_in(environ)))
    if any(count.exceeded for count in counts):
        return None
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = io.BytesIO(body)  # for whoever reads it next
    caller = Caller(key)
    launch = _launch(caller, body, environ.get("HTTP_INSTALLATION_SECRET", ""))
    if launch is None:
        return None
    recorded = _record(caller.app, launch)
    if recorded is None:
        return None
    result, secret = recorded
    answer = b'{"installation_id":"%s","result":"%s"' % (launch.installation_id.encode(), result.encode())
    answer += b',"installation_secret":"%s"}' % secret.encode() if secret else b"}"
    constant = _constant_headers(environ["wsgi.url_scheme"], environ.get(PROTO))
    return result, answer, [*constant, *headers(counts)]


def _record(app: MobileApp, launch: Launch) -> tuple[Result, str] | None:
    """What the launch changed, with the secret to hand out; None where it takes more than two questions to tell."""
    found = compare(app.pk, launch)
    if found is Found.UNCHANGED:
        LAUNCHES.add(app.slug, Result.UNCHANGED.value)
        return Result.UNCHANGED, ""
    if found is None or not _is_valid(app, launch):
        return None
    return record_plainly(app, launch, new=found is Found.NEW)


def _is_common(environ: Environ) -> bool:
    """Whether the request has the form that nearly all have."""
    return (
        environ["REQUEST_METHOD"] == "POST"
        and environ["PATH_INFO"] == PATH
        and not environ.get("QUERY_STRING")
        and environ.get("CONTENT_TYPE") == "application/json"
        and environ.get("HTTP_ACCEPT", "*/*") in ("*/*", "application/json")
        and environ.get("HTTP_AUTHORIZATION", "").startswith(BEARER)
        and "HTTP_TRANSFER_ENCODING" not in environ
        and _is_short(environ.get("CONTENT_LENGTH", ""))
        and _is_ours(environ.get("HTTP_HOST", ""))
    )


def _is_short(length: str) -> bool:
    return len(length) <= 5 and length.isascii() and length.isdigit() and 0 < int(length) <= MAX_BODY


def _is_ours(host: str) -> bool:
    return host in _hosts() or (len(_hosts()) < 100 and _allowed(host))


@cache
def _hosts() -> set[str]:
    """Names that were found good, as they are spelled."""
    return set()


def _allowed(host: str) -> bool:
    domain, _ = split_domain_port(host)
    good = bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
    if good:
        _hosts().add(host)
    return good


def _launch(caller: Caller, body: bytes, secret: str) -> Launch | None:
    """The launch that the body is, or None where it is none that is told by comparing."""
    try:
        posted = unambiguous(body)
        if not _is_plain_launch(posted):
            return None
        said = who(caller, posted, user_of_known_issuer)
    except (ValueError, RecursionError, APIException):
        return None
    return to_launch(posted, **said, secret=secret if has_to_prove(caller) else None)


_FIELDS = frozenset(LaunchSerializer().fields)


def _is_plain_launch(posted: Any) -> bool:
    if not isinstance(posted, dict) or not posted.keys() >= NEEDED or not posted.keys() <= _FIELDS:
        return False
    user, sequence = posted.get("user"), posted.get("sequence", 0)
    texts = (value for name, value in posted.items() if name not in ("user", "sequence"))
    return (
        all(map(_is_plain, texts))
        and type(sequence) is int
        and 0 <= sequence < 2**63
        and (user is None or _is_plain_user(user))
    )


def _is_plain_user(user: Any) -> bool:
    """By id or by token, with what may come with either. Null takes a key away: left to the serializer."""
    if not isinstance(user, dict):
        return False
    names = user.keys()
    texts, consents = names - {"push_consent", "tracking_consent"}, names & {"push_consent", "tracking_consent"}
    if texts == {"token"}:
        if len(str(user["token"])) > MAX_USER_TOKEN:
            return False
    elif not {"id"} <= texts <= {"id", "email", "phone"}:
        return False
    return all(_is_plain(user[name]) for name in texts) and all(isinstance(user[name], bool) for name in consents)


_PLATFORMS = frozenset(Platform.values)
_LENGTHS: dict[str, int] = {name: LaunchSerializer().fields[name].max_length for name in INFO_FIELDS}  # type: ignore[attr-defined]


def _is_valid(app: MobileApp, launch: Launch) -> bool:
    """Whether the serializer would take it, as it is spelled: what is to be written has no row to be equal to."""
    user, info = launch.user, launch.info
    try:
        return (
            re.fullmatch(INSTALLATION_ID, launch.installation_id) is not None
            and launch.platform in _PLATFORMS
            and device_token("token", launch.token, launch.platform) == launch.token
            and all(len(value) <= _LENGTHS[name] for name, value in info.items())
            and (not info.get("time_zone") or info["time_zone"] in time_zones())
            and (user is None or _is_valid_user(app, user))
        )
    except InvalidInput:
        return False


def _is_valid_user(app: MobileApp, user: LaunchUser) -> bool:
    email, phone = user.given.get("email"), user.given.get("phone")
    return (
        is_user_id(user.external_id)
        and (not email or (len(email) <= MAX_EMAIL and email_address("email", email) == email))
        and (not phone or phone_number("phone", phone, app.default_region) == phone)
    )


def _is_plain(value: Any) -> bool:
    """Text that nobody would trim, refuse, or read as ended by a NUL."""
    return isinstance(value, str) and value.isprintable() and value == value.strip()


@lru_cache(maxsize=8)
def _constant_headers(scheme: str, forwarded: str | None) -> list[Header]:
    """The headers that Django gives each such answer: another one where the request came by TLS."""
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": PATH, "wsgi.url_scheme": scheme, "wsgi.input": io.BytesIO()}
    request = WSGIRequest(environ if forwarded is None else {**environ, PROTO: forwarded})
    response = HttpResponse(content_type="application/json", headers={"Allow": "POST"})
    for name in HEADERS_ONLY:
        if name in settings.MIDDLEWARE:
            response = import_string(name)(_nothing).process_response(request, response)
    return list(response.headers.items())


def _nothing(request: WSGIRequest) -> HttpResponse:
    """What a middleware wants to be around."""
    return HttpResponse()
