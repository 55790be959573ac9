"""The WSGI entry point: `granian --interface wsgi tokenhub.wsgi:application`."""

import atexit
import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from tokenhub.chunked import whole_bodies

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")

application = whole_bodies(get_wsgi_application())

from registry.services import vitals  # noqa: E402 models are there only now

vitals.start("web" if settings.TOKENHUB_ROLE == "all" else f"web {settings.TOKENHUB_ROLE}")
atexit.register(vitals.stop)
