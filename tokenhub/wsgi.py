"""The WSGI entry point: `granian --interface wsgi tokenhub.wsgi:application`."""

import atexit
import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from tokenhub.chunked import whole_bodies
from tokenhub.paths import readable_paths

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")

django = whole_bodies(readable_paths(get_wsgi_application()))

from registry.api.lane import Lane  # noqa: E402 models are there only now
from registry.services import vitals  # noqa: E402
from tokenhub.observe import seen  # noqa: E402

application = Lane(django, seen) if settings.SERVES_API else django

vitals.start("web" if settings.TOKENHUB_ROLE == "all" else f"web {settings.TOKENHUB_ROLE}")
atexit.register(vitals.stop)
