"""Limits on the way in, and what is said of them on the way out.

The headers are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` says what the limits are, `RateLimit`
how they stand.
"""

from collections.abc import Callable, Mapping, Sequence

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import Throttled

from registry.services import limits
from registry.services.limits import Count, Limit

_COUNTS = "tokenhub_limits"
COUNTED = "tokenhub.counted"  # in the WSGI environment: how the caller's limits stand, where the lane counted already


def address_of(request: HttpRequest) -> str:
    """The client's address, as far as it can be believed."""
    return address_in(request.META)


def address_in(environ: Mapping[str, str]) -> str:
    """The same of a WSGI environment."""
    remote, forwarded = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
    return limits.client_address(remote, forwarded, tuple(settings.TOKENHUB_TRUSTED_PROXIES))


def spend(request: HttpRequest, which: Sequence[Limit]) -> float | None:
    """Count the request; return the seconds to wait where it is one too many."""
    return note(request, limits.count(which))


def note(request: HttpRequest, counts: Sequence[Count]) -> float | None:
    """The same for one that was counted."""
    setattr(request, _COUNTS, counts)
    return max((count.retry_after for count in counts), default=0) or None


def refuse_strangers(request: HttpRequest) -> None:
    """Count a request whose key is unknown. Raises Throttled where its address tries too many."""
    if (wait := spend(request, limits.of_stranger(address_of(request)))) is not None:
        raise Throttled(wait)


class RateLimitHeaders:
    """A middleware: tells the caller how its limits stand."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        for name, value in headers(getattr(request, _COUNTS, [])):
            response[name] = value
        return response


def headers(counts: Sequence[Count]) -> list[tuple[str, str]]:
    """What to tell of these limits."""
    if not counts:
        return []
    policy = ", ".join(f'"{count.limit.name}";q={count.limit.quota};w={limits.WINDOW:.0f}' for count in counts)
    state = ", ".join(f'"{count.limit.name}";r={count.remaining};t={count.reset}' for count in counts)
    return [("RateLimit-Policy", policy), ("RateLimit", state)]
