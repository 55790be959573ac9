"""The WSGI entry point: `granian --interface wsgi tokenhub.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")

application = get_wsgi_application()
