"""The answers where no view answers: problems below /api/, the admin's pages below /admin/, Django's elsewhere."""

from http import HTTPStatus

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import csrf, defaults

from registry.api.problems import problem

API, ADMIN = "/api/", "/admin/"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: what Django refuses by itself, e.g. an unknown host name."""
    if request.path.startswith(API):
        return problem(HTTPStatus.BAD_REQUEST, "The request cannot be read, or asks for an unknown host name.")
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404: a path that leads nowhere."""
    if request.path.startswith(API):
        return problem(HTTPStatus.NOT_FOUND, "There is no such path.")
    what = "What stood at this address may have been deleted, or erased. Explain and the lists find what is there."
    return _page(request, HTTPStatus.NOT_FOUND, "There is nothing here", what) or defaults.page_not_found(
        request, exception
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403: a page of the admin that somebody may not see."""
    what = "Your role does not let you do this, or not for this app. An administrator can change that."
    return _page(request, HTTPStatus.FORBIDDEN, "Not allowed", what) or defaults.permission_denied(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403: a form that was not ours, or is too old."""
    what = "The form was open for so long that it is not believed any more. Nothing was done: open the page again."
    return _page(request, HTTPStatus.FORBIDDEN, "Not done", what) or csrf.csrf_failure(request, reason)


def _page(request: HttpRequest, status: HTTPStatus, title: str, what: str) -> HttpResponse | None:
    """One of the admin's pages, with its menu, for those who are signed in to it; None for everybody else."""
    user = getattr(request, "user", None)
    if user is None or not user.is_staff or not request.path.startswith(ADMIN):
        return None
    context = {**admin.site.each_context(request), "title": title, "what": what}
    return render(request, "tokenhub/error.html", context, status=status)


def server_error(request: HttpRequest) -> HttpResponse:
    """500: our own mistake. What happened is in the log, under the time of the answer."""
    if request.path.startswith(API):
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; it is in the server's log.")
    return defaults.server_error(request)
