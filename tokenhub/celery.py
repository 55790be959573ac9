"""The Celery app: `celery -A tokenhub worker`, `celery -A tokenhub beat`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")

app = Celery("tokenhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
