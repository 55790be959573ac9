"""The answers where no view answers: problems below /api/, Django's pages elsewhere."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from registry.api.problems import problem

API = "/api/"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: what Django refuses by itself, e.g. an unknown host name."""
    if request.path.startswith(API):
        return problem(HTTPStatus.BAD_REQUEST, "The request cannot be read, or asks for an unknown host name.")
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404: a path that leads nowhere."""
    if request.path.startswith(API):
        return problem(HTTPStatus.NOT_FOUND, "There is no such path.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """500: our own mistake. What happened is in the log, under the time of the answer."""
    if request.path.startswith(API):
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; it is in the server's log.")
    return defaults.server_error(request)
