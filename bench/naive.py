"""The naive forms: a Celery task for each event and for each device, which sends and writes for that one alone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")

import django
import httpx2
from celery import Celery
from django.conf import settings

django.setup()

from registry.models import Device, InteractionEvent, Registration  # noqa: E402
from registry.services import clock  # noqa: E402
from sync import connect  # noqa: E402
from sync.clients.cij import Pair  # noqa: E402

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


@app.task
def register_one(pk: int) -> None:
    """Look up one device's user, register the device, ask what became of it. The clients keep their connections."""
    device = Device.objects.select_related("user__mapping", "app__dataverse").get(pk=pk)
    assert device.user is not None
    dataverse, cij = connect.dataverse(device.app.dataverse), connect.cij(device.app)
    table = connect.tables(device.app.dataverse)["contact"]
    (record,) = dataverse.find(table, table.email_column, [device.user.email])
    mapping = device.user.mapping
    mapping.state, mapping.table, mapping.dataverse_id, mapping.due_at = "mapped", "contact", record.id, None
    mapping.matched_by = "email"
    mapping.save()
    (request_id,) = cij.register([Pair(record.id, device.platform, device.token)])
    assert request_id is not None
    row = Registration.objects.create(
        app=device.app,
        device=device,
        table="contact",
        dataverse_id=record.id,
        platform=device.platform,
        token=device.token,
        token_hash=bytes(device.token_hash),
        desired=True,
        state="sent",
        request_id=request_id,
        due_at=None,  # or tokenhub would find it, and work on it in its next round
    )
    cij.statuses([request_id])
    row.state, row.registered_at = "registered", datetime.now(UTC)
    row.save()
    Device.objects.filter(pk=pk).update(planned_revision=device.revision)


def work(task: Any, keys: Sequence[int], done: Callable[[], int]) -> None:
    """Have a Celery worker of one process, on the core of whoever calls, do all of these."""
    for key in keys:
        task.delay(key)
    argv = [sys.executable, "-m", "celery", "--quiet", "-A", "bench.naive", "worker", "--pool", "solo", "-Q", "naive"]
    argv += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    process = subprocess.Popen(argv, stdout=sys.stderr)  # what is measured goes to stdout
    try:
        while done() < len(keys):
            assert process.poll() is None
            time.sleep(0.2)
    finally:
        process.terminate()
        process.wait()
