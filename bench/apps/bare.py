"""Yardstick: a Django view that does nothing, with no middleware."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path


def launch(request: HttpRequest) -> HttpResponse:
    """Answer."""
    return HttpResponse(b'{"result":"unchanged"}', content_type="application/json")


urlpatterns = [path("api/v1/devices", launch)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], MIDDLEWARE=[])
application = get_wsgi_application()
