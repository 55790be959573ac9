"""The API's description for people and for programs."""

from functools import cache
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

OPENAPI = Path(__file__).with_name("openapi.yaml")


@cache
def _document() -> bytes:
    return OPENAPI.read_bytes()


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document, as it is kept in the repository."""
    return HttpResponse(_document(), content_type="application/yaml; charset=utf-8")


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Swagger UI over the document, from our own files alone."""
    return render(request, "registry/api_docs.html")
