"""From a call that was meant for Microsoft to what Microsoft's side holds."""

import uuid
from typing import Any

from django.test import Client

from registry.models import DataverseMapping, InteractionEvent, MobileApp
from tests.sandbox_process import World

TOKEN = "dQw4w9WgXcQ_-abcdefghi:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"
USER = str(uuid.uuid4())


def post(app: MobileApp, path: str, body: dict[str, Any]) -> None:
    answer = Client().post(f"/api/v1.0/orgs/{app.org_id}/{path}", body, content_type="application/json")
    assert answer.status_code == 202, answer.content


def test_a_drop_in_device_is_registered_reports_and_is_cleaned_up(world: World) -> None:
    MobileApp.objects.update(drop_in=True, identity="backend")
    app = MobileApp.objects.get()
    proof = {"MobileAppId": str(app.mobile_app_id), "ApiToken": app.api_token, "UserId": USER}
    post(app, "pushdeviceregistration/devices", {**proof, "FcmDeviceToken": TOKEN})
    world.work_until(lambda: world.held() == {(USER, TOKEN)})
    tracking_id = str(uuid.uuid4())
    event = {"TrackingId": tracking_id, "DeviceToken": TOKEN, "PushNotificationStatus": "Opened"}
    post(app, "pushdatareceiver/events", event)
    world.work_until(lambda: InteractionEvent.objects.filter(state="relayed").exists())
    assert [(told.tracking_id, told.device_token) for told in world.microsoft.events()] == [(tracking_id, TOKEN)]
    # What the app gave is not re-checked in Dataverse, which knows no such record.
    DataverseMapping.objects.update(recheck_at="2020-01-01T00:00:00Z")
    for _ in range(3):
        world.work_once()
    assert world.held() == {(USER, TOKEN)}
    post(app, "pushdeviceregistration/devices/cleanup", {**proof, "DeviceToken": TOKEN})
    world.work_until(lambda: world.held() == set())
