"""The limits of requests, where REST framework asks for them."""

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from registry.api.authentication import caller_of
from registry.api.limits import COUNTED, address_of, note, spend
from registry.services import limits
from registry.services.limits import Limit


class LimitThrottle(BaseThrottle):
    """Counts a request against the limits that `limits_of` names, which come in the answer's headers, too."""

    _wait: float | None = None

    def limits_of(self, request: Request, address: str) -> list[Limit]:
        raise NotImplementedError

    def allow_request(self, request: Request, view: Any) -> bool:
        carrier = request._request  # noqa: SLF001 the middleware that writes the headers sees Django's request
        self._wait = spend(carrier, self.limits_of(request, address_of(carrier)))
        return self._wait is None

    def wait(self) -> float | None:
        return self._wait


class CallerThrottle(LimitThrottle):
    """The limits of a known key."""

    def allow_request(self, request: Request, view: Any) -> bool:
        counted = request.META.pop(COUNTED, None)
        if counted is None:
            return super().allow_request(request, view)
        self._wait = note(request._request, counted)  # noqa: SLF001
        return self._wait is None

    def limits_of(self, request: Request, address: str) -> list[Limit]:
        return limits.of_key(caller_of(request).key, address)


class AddressThrottle(LimitThrottle):
    """The limit by address, where nobody has a key."""

    def limits_of(self, request: Request, address: str) -> list[Limit]:
        return limits.of_address(address)
