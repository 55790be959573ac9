"""The limits of a known key, where REST framework asks for them."""

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from registry.api.authentication import caller_of
from registry.api.limits import address_of, spend
from registry.services import limits


class CallerThrottle(BaseThrottle):
    """The limits of a known key."""

    _wait: float | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        key = caller_of(request).key
        self._wait = spend(request._request, limits.of_key(key, address_of(request._request)))  # noqa: SLF001 the headers' carrier
        return self._wait is None

    def wait(self) -> float | None:
        return self._wait
