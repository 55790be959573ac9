"""The naive form of relaying events: a Celery task, a query, a synchronous request and an update for each."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")

import django
import httpx2
from celery import Celery
from django.conf import settings

django.setup()

from registry.models import InteractionEvent  # noqa: E402
from registry.services import clock  # noqa: E402

app = Celery("naive", broker=settings.REDIS_URL)
app.conf.task_default_queue = "naive"
app.conf.task_ignore_result = True
_client = httpx2.Client()  # kept alive, which is more than naive


@app.task
def relay_one(pk: int) -> None:
    """Relay one event."""
    event = InteractionEvent.objects.select_related("app").get(pk=pk)
    body = {"TrackingId": str(event.tracking_id), "DeviceToken": event.token, "PushNotificationStatus": 1}
    url = f"{event.app.endpoint}/api/v1.0/orgs/{event.app.org_id}/pushdatareceiver/events"
    _client.post(url, json=body).raise_for_status()
    event.state, event.relayed_at, event.due_at = "relayed", clock.now(), None
    event.save()
