"""Yardstick: a Django view with one SELECT, by a connection of BENCH_KIND."""

import json
import os
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from bench.apps import raw

KIND = os.environ["BENCH_KIND"]
_SELECT = "SELECT token, platform, last_seen FROM registry_device WHERE app_id = %s AND installation_id = %s"


def launch(request: HttpRequest) -> HttpResponse:
    """Read the body, read the row, answer."""
    posted = json.loads(request.body)
    if KIND == "own, prepared":
        row = raw.known(posted["installation_id"])
    else:
        with connection.cursor() as cursor:
            cursor.execute(_SELECT, [1, posted["installation_id"]])
            row = cursor.fetchone()
    assert row
    assert row[0] == posted["token"]
    return HttpResponse(b'{"result":"unchanged"}', content_type="application/json")


def _database() -> dict[str, Any]:
    import environ

    database: dict[str, Any] = environ.Env.db_url_config(os.environ["DATABASE_URL"])
    pooled = {"pool": {"min_size": 0, "max_size": 10}} if KIND == "pool" else {}
    return {
        **database,
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": None if KIND == "persistent" else 0,
        "OPTIONS": {"server_side_binding": True, **pooled},
    }


urlpatterns = [path("api/v1/devices", launch)]
settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], MIDDLEWARE=[], DATABASES={"default": _database()}
)
application = get_wsgi_application()
