"""tokenhub by Django's ASGI handler: measured beside WSGI, and not offered."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
application = get_asgi_application()
