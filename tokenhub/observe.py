"""What is seen of each request: its correlation id, its counts, its line in the log.

`finished` and `correlation.begin` are plain functions, cheap enough for a launch that repeats what is known.
"""

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from registry.services import correlation
from registry.services.counters import FAST, Counter, Histogram
from tokenhub.logs import tell

REQUESTS = Counter("tokenhub_requests_total", "Requests by route and outcome.", ["method", "route", "status"])
SECONDS = Histogram("tokenhub_request_seconds", "How long requests took to answer.", FAST, ["method", "route"])

HEADER = "X-Request-ID"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN = "unknown"
# What changes nothing is counted and, below DEBUG, not logged: phones launch a thousand times as often as they change.
QUIET = frozenset({"unchanged"})

logger = logging.getLogger(__name__)


def finished(method: str, route: str, status: int, seconds: float, result: str = "", **more: str) -> None:
    """A request was answered. `route` is the URL's pattern, never its path; `result` what a launch says that it did.

    Call it while the request's correlation id is the current one. `more` goes into the log's line.
    """
    REQUESTS.add(method, route, str(status))
    SECONDS.observe(seconds, method, route)
    quiet = status < 400 and (result in QUIET or method in ("GET", "HEAD"))
    level = logging.DEBUG if quiet else logging.INFO if status < 500 else logging.ERROR
    if not logger.isEnabledFor(level):
        return  # a line that nobody wants costs nothing
    if result:
        more["result"] = result
    tell(logger, level, "request", method=method, route=route, status=status, seconds=round(seconds, 4), **more)


def seen(correlation_id: uuid.UUID, *request: Any) -> tuple[str, str]:
    """As `finished`, for a request that comes to an end in front of Django; returns the header that tells its id."""
    finished(*request)
    return HEADER, correlation_id.hex


class Observe:
    """The middleware around everything else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        correlation_id: uuid.UUID = correlation.begin(request.META.get("HTTP_TRACEPARENT", ""))
        with correlation.handling(correlation_id):
            response = self._get_response(request)
            response[HEADER] = correlation_id.hex
            method = request.method if request.method in METHODS else UNKNOWN
            route = request.resolver_match.route if request.resolver_match else UNKNOWN
            finished(method or UNKNOWN, route, response.status_code, time.perf_counter() - began, **_said(response))
        return response


def _said(response: HttpResponse) -> dict[str, str]:
    """What the API's answer says of itself, without anything of anybody's."""
    data: Any = getattr(response, "data", None)
    if not isinstance(data, dict):
        return {}
    said = {"result": data.get("result"), "problem": data.get("type")}
    return {name: value for name, value in said.items() if isinstance(value, str)}
