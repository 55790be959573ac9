"""What the inside asks for, probes and metrics, comes by address: no host name is asked of it."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch

from tokenhub import health, metrics

VIEWS: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/livez": health.livez,
    "/readyz": health.readyz,
    "/metrics": metrics.metrics,
}


class Inside:
    """The middleware that answers them, ahead of whatever asks whether the host is allowed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = VIEWS.get(request.path_info)
        if view is None:
            return self._get_response(request)
        request.resolver_match = ResolverMatch(view, (), {}, route=request.path_info.removeprefix("/"))
        return view(request)
