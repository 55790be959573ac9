"""Limits on the way in, and what is said of them on the way out.

The headers are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` says what the limits are, `RateLimit`
how they stand.
"""

from collections.abc import Callable, Sequence

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import Throttled

from registry.services import limits
from registry.services.limits import Count, Limit

_COUNTS = "tokenhub_limits"


def address_of(request: HttpRequest) -> str:
    """The client's address, as far as it can be believed."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return limits.client_address(request.META.get("REMOTE_ADDR", ""), forwarded, settings.TOKENHUB_TRUSTED_PROXIES)


def spend(request: HttpRequest, which: Sequence[Limit]) -> float | None:
    """Count the request; return the seconds to wait where it is one too many."""
    counts = limits.count(which)
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
        counts: list[Count] = getattr(request, _COUNTS, [])
        if counts:
            window = int(limits.WINDOW)
            response["RateLimit-Policy"] = ", ".join(f'"{c.limit.name}";q={c.limit.quota};w={window}' for c in counts)
            response["RateLimit"] = ", ".join(f'"{c.limit.name}";r={c.remaining};t={c.reset}' for c in counts)
        return response
