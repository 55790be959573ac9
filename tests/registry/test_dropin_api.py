"""Apps that post straight to Microsoft change the host name, and nothing else."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from registry.models import DataverseMapping, Device, InteractionEvent, MobileApp, Registration
from registry.services.errors import InvalidInput
from registry.services.keys import create_key
from registry.states import Identity
from tests.conftest import Api

pytestmark = pytest.mark.django_db
ORG = "0a0a0a0a-1111-2222-3333-444444444444"
ZEROS = "00000000-0000-0000-0000-000000000000"
USER = "00aa00aa-bb11-cc22-dd33-44ee44ee44ee"
API_TOKEN = "%API_TOKEN%"
APNS = "740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"
FCM = "dQw4w9WgXcQ_-abcdefghi:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"

# MicrosoftDocs/customer-insights, ci-docs/journeys: as they stand there, blanks and all. Only what a reader has to fill
# in (`%APNS_TOKEN%` and the like) is filled in.
IOS = """{
    "MobileAppId": "00000000-0000-0000-0000-000000000000",
    "UserId": "00aa00aa-bb11-cc22-dd33-44ee44ee44ee",
    "ApiToken": "%API_TOKEN%",
    "ApnsDeviceToken": "%APNS_TOKEN%"
}"""
ANDROID = """{
    "MobileAppId": "00000000-0000-0000-0000-000000000000",
    "UserId": "00aa00aa-bb11-cc22-dd33-44ee44ee44ee",
    "ApiToken": "%API_TOKEN%",
    "FcmDeviceToken": "%FCM_TOKEN%"
}"""
IOS_BATCH = """[
    {
        "MobileAppId": "00000000-0000-0000-0000-000000000000",      
        "UserId": "00aa00aa-bb11-cc22-dd33-44ee44ee44ee",
        "ApiToken": "%API_TOKEN%",
        "ApnsDeviceToken": "%APNS_TOKEN%"
    },
    {
        "MobileAppId": "00000000-0000-0000-0000-000000000000",
        "UserId": "00aa00aa-bb11-cc22-dd33-44ee44ee44ee",
        "ApiToken": "%API_TOKEN%",
        "ApnsDeviceToken": "%APNS_TOKEN%"
    }
]"""  # noqa: W291 the blanks are Microsoft's
STATUS = """{
    "RegistrationRequestIds": [
        "%REG_REQUEST_ID%"
    ],
    "MobileAppId": "%MOBILE_APP_ID%",
    "ApiToken": "%API_TOKEN%"
}"""
CLEANUP = """{
    "MobileAppId": "00000000-0000-0000-0000-000000000000",
    "ApiToken": "%API_TOKEN%",
    "UserId": "00aa00aa-bb11-cc22-dd33-44ee44ee44ee",
    "DeviceToken": "%OPTIONAL_FCM_OR_APNS_DEVICE_TOKEN%"
}"""
EVENT = """{ 

    "TrackingId": "00000000-0000-0000-0000-000000000000", 
    "DeviceToken": "%DeviceToken", 
    "PushNotificationStatus":  1

} """  # noqa: W291
TRACKED = {"x-ms-track-registration": "true"}


@pytest.fixture
def shop(make_app: Callable[..., MobileApp]) -> MobileApp:
    return make_app(org_id=ORG, mobile_app_id=ZEROS, api_token=API_TOKEN, drop_in=True)


def post(path: str, body: str | dict[str, Any] | list[Any], org: str = ORG, **headers: str) -> Any:
    """As such an app does; `path` below the organisation."""
    return Client().post(f"/api/v1.0/orgs/{org}/{path}", body, content_type="application/json", headers=headers)


def register(token: str = FCM, user: str = USER, **headers: str) -> Any:
    body = {"MobileAppId": ZEROS, "UserId": user, "ApiToken": API_TOKEN, "FcmDeviceToken": token}
    return post("pushdeviceregistration/devices", body, **headers)


def clean_up(**fields: Any) -> Any:
    body = {"MobileAppId": ZEROS, "ApiToken": API_TOKEN, "UserId": USER, **fields}
    return post("pushdeviceregistration/devices/cleanup", body)


def desired() -> set[tuple[str, str]]:
    """User and token of every device that is to be registered."""
    living = Device.objects.filter(retired_at=None).select_related("user__mapping")
    return {(str(device.user.mapping.dataverse_id), device.token) for device in living if device.user}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("sample", "token"), [(IOS, APNS), (ANDROID, FCM)])
def test_the_documented_registrations_work(shop: MobileApp, sample: str, token: str, slash: str) -> None:
    body = sample.replace("%APNS_TOKEN%", APNS).replace("%FCM_TOKEN%", FCM)
    answer = post(f"pushdeviceregistration/devices{slash}", body)
    assert (answer.status_code, answer.content) == (202, b"")
    assert desired() == {(USER, token)}
    mapping = DataverseMapping.objects.get()
    assert (mapping.state, mapping.matched_by, mapping.due_at) == ("mapped", "given", None)


def test_the_documented_batch_works_and_is_answered_in_its_order(shop: MobileApp) -> None:
    other = "ab" * 32
    body = IOS_BATCH.replace("%APNS_TOKEN%", APNS, 1).replace("%APNS_TOKEN%", other, 1)
    answer = post("pushdeviceregistration/devices/batch", body, **TRACKED)
    assert answer.status_code == 202
    ids = [item["RegistrationRequestId"] for item in answer.json()]
    assert [set(item) for item in answer.json()] == [{"RegistrationRequestId"}] * 2
    names = {device.token: device.installation_id for device in Device.objects.all()}
    assert [names[APNS], names[other]] == [f"dropin:{number}" for number in ids]
    assert post("pushdeviceregistration/devices/batch/", body).content == b""


def test_the_documented_status_call_follows_the_registration(shop: MobileApp) -> None:
    number = register(**TRACKED).json()["RegistrationRequestId"]

    def status(*ids: str) -> Any:
        body = STATUS.replace("%REG_REQUEST_ID%", '", "'.join(ids)).replace("%MOBILE_APP_ID%", ZEROS)
        answer = post("pushdeviceregistration/devices/status/", body)
        assert answer.status_code == 200
        return answer.json()

    assert status(number) == [{"Status": "Pending", "FailureReason": ""}]
    device = Device.objects.get()
    row = Registration.objects.create(
        app=shop, device=device, dataverse_id=USER, platform="android", token=FCM, token_hash=device.token_hash,
        state="registered", due_at=None,
    )  # fmt: skip
    assert status(number) == [{"Status": "Success", "FailureReason": ""}]
    for ours, theirs in [("DryRunSendingFailed", "DryRunSendingFailed"), ("Unknown", "FailedToStoreDevice")]:
        Registration.objects.filter(pk=row.pk).update(state="failed", reason=ours)
        assert status(number, str(uuid.uuid4())) == [
            {"Status": "Failed", "FailureReason": theirs},
            {"Status": "Pending", "FailureReason": ""},
        ]


@pytest.mark.parametrize("path", ["cleanup", "cleanup/", "cleanup/batch"])
def test_the_documented_cleanups_work(shop: MobileApp, path: str) -> None:
    register()
    register(token=f"{FCM}-2")
    body = CLEANUP.replace("%OPTIONAL_FCM_OR_APNS_DEVICE_TOKEN%", FCM)
    answer = post(f"pushdeviceregistration/devices/{path}", body)
    assert (answer.status_code, answer.content) == (202, b"")
    assert desired() == {(USER, f"{FCM}-2")}


def test_many_are_cleaned_up_by_an_array(shop: MobileApp) -> None:
    for number in range(3):
        register(token=f"{FCM}-{number}")
    items = [
        {"MobileAppId": ZEROS, "ApiToken": API_TOKEN, "UserId": USER, "DeviceToken": f"{FCM}-{number}"}
        for number in range(2)
    ]
    assert post("pushdeviceregistration/devices/cleanup/batch", items).status_code == 202
    assert desired() == {(USER, f"{FCM}-2")}


def test_without_a_token_the_user_s_drop_in_devices_go_and_no_other(shop: MobileApp) -> None:
    other = str(uuid.uuid4())
    for number, user in enumerate([USER, USER, other]):
        register(token=f"{FCM}-{number}", user=user)
    assert clean_up().status_code == 202
    assert desired() == {(other, f"{FCM}-2")}


def test_a_cleanup_leaves_what_the_app_itself_posted(shop: MobileApp) -> None:
    Api(create_key(app=shop, kind="server")).launch(token=FCM, user={"id": f"dataverse:{USER}"})
    assert clean_up().status_code == 202
    assert clean_up(DeviceToken=FCM).status_code == 202
    assert Device.objects.get().retired_at is None


def test_an_apns_token_is_cleaned_up_in_either_case(shop: MobileApp) -> None:
    post("pushdeviceregistration/devices", IOS.replace("%APNS_TOKEN%", APNS.upper()))
    assert clean_up(DeviceToken=APNS.upper()).status_code == 202
    assert desired() == set()


def test_a_cleanup_of_somebody_else_s_token_does_nothing(shop: MobileApp) -> None:
    register()
    assert clean_up(UserId=str(uuid.uuid4()), DeviceToken=FCM).status_code == 202
    assert desired() == {(USER, FCM)}


def test_a_token_that_changes_hands_is_the_new_user_s(shop: MobileApp) -> None:
    register()
    other = str(uuid.uuid4())
    register(user=other)
    assert desired() == {(other, FCM)}


def test_a_repeated_registration_costs_reads_alone(
    shop: MobileApp, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    register()
    with django_assert_num_queries(2):  # the app, and the device with its user
        register(**TRACKED)


def test_the_app_s_own_installation_takes_the_token_over(shop: MobileApp) -> None:
    register()
    Api(create_key(app=shop, kind="server")).launch(token=FCM, user={"id": "anna"})
    living = Device.objects.get(retired_at=None)
    assert living.installation_id == "phone-1"


@pytest.mark.parametrize("status", [1, "1", "Opened", "opened"])
def test_the_documented_event_is_kept_to_be_relayed(shop: MobileApp, status: int | str) -> None:
    register()
    tracking_id = str(uuid.uuid4())
    body = {"TrackingId": tracking_id, "DeviceToken": FCM, "PushNotificationStatus": status}
    answer = post("pushdatareceiver/events", body)
    assert (answer.status_code, answer.content) == (202, b"")
    row = InteractionEvent.objects.get()
    assert (str(row.tracking_id), row.status, row.state, row.token) == (tracking_id, "opened", "ready", FCM)


def test_the_documented_sample_event_is_a_test_send(shop: MobileApp) -> None:
    register()
    assert post("pushdatareceiver/events", EVENT.replace("%DeviceToken", FCM)).status_code == 202
    assert InteractionEvent.objects.get().reason == "test_send"


@pytest.mark.parametrize(
    "change",
    [{"PushNotificationStatus": 0}, {"PushNotificationStatus": True}, {"TrackingId": "x"}, {"DeviceToken": "y"}],
)
def test_a_bad_event_is_refused(shop: MobileApp, change: dict[str, Any]) -> None:
    register()
    body = {"TrackingId": "", "DeviceToken": FCM, "PushNotificationStatus": 1, **change}
    answer = post("pushdatareceiver/events", body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [*change]
    assert not InteractionEvent.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ApiToken": "other"}, "ApiToken"),
        ({"MobileAppId": str(uuid.uuid4())}, "ApiToken"),
        ({"UserId": "anna"}, "UserId"),
        ({"UserId": None}, "UserId"),
        ({"FcmDeviceToken": "a b"}, "FcmDeviceToken"),
        ({"FcmDeviceToken": ""}, "ApnsDeviceToken"),
        ({"ApnsDeviceToken": APNS}, "ApnsDeviceToken"),
    ],
)
def test_bad_registrations_are_refused_and_none_of_a_batch_is_taken(
    shop: MobileApp, change: dict[str, Any], field: str
) -> None:
    good = {"MobileAppId": ZEROS, "UserId": USER, "ApiToken": API_TOKEN, "FcmDeviceToken": FCM}
    bad = {**good, **change}
    alone = post("pushdeviceregistration/devices", bad)
    assert (alone.status_code, alone.json()["errors"][0]["field"]) == (400, field)
    assert post("pushdeviceregistration/devices/batch", [good, bad]).status_code == 400
    assert not Device.objects.exists()


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_holds_1_to_100(shop: MobileApp, count: int) -> None:
    assert post("pushdeviceregistration/devices/batch", [{}] * count).status_code == 400


def test_another_organisation_s_ids_prove_nothing(shop: MobileApp) -> None:
    body = {"MobileAppId": ZEROS, "UserId": USER, "ApiToken": API_TOKEN, "FcmDeviceToken": FCM}
    assert post("pushdeviceregistration/devices", body, org=str(uuid.uuid4())).status_code == 400
    assert post("pushdeviceregistration/devices", body, org=ORG.upper()).status_code == 202
    assert post("pushdeviceregistration/devices", body, org="x").status_code == 404


PATHS: dict[str, dict[str, Any]] = {
    "pushdeviceregistration/devices": {"UserId": USER, "FcmDeviceToken": FCM},
    "pushdeviceregistration/devices/status/": {"RegistrationRequestIds": [ZEROS]},
    "pushdeviceregistration/devices/cleanup": {"UserId": USER},
}


@pytest.mark.parametrize("path", PATHS)
def test_an_app_that_is_not_switched_on_takes_nothing(shop: MobileApp, path: str) -> None:
    register()
    MobileApp.objects.update(drop_in=False)
    answer = post(path, {"MobileAppId": ZEROS, "ApiToken": API_TOKEN, **PATHS[path]})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:tokenhub:problem:drop-in-off")
    assert desired() == {(USER, FCM)}
    event = {"TrackingId": "", "DeviceToken": FCM, "PushNotificationStatus": 1}
    assert post("pushdatareceiver/events", event).status_code == 400


def test_it_is_off_by_default_and_cannot_be_on_under_jwt(make_app: Callable[..., MobileApp]) -> None:
    assert make_app().drop_in is False
    with pytest.raises(InvalidInput, match="cannot be on under the identity policy 'jwt'"):
        make_app("other", identity=Identity.JWT, drop_in=True)


def test_create_app_says_so(shop: MobileApp) -> None:
    options = {
        "slug": "x",
        "name": "X",
        "org-id": ORG,
        "mobile-app-id": USER,
        "endpoint": "public-eur.mkt.dynamics.com",
    }
    words = [f"--{name}={value}" for name, value in {**options, "api-token": "t", "dataverse": "contoso"}.items()]
    with pytest.raises(CommandError, match="--drop-in: The drop-in paths cannot be on"):
        call_command("create_app", *words, "--drop-in")


def test_administrators_are_warned(shop: MobileApp, admin_client: Client) -> None:
    page = admin_client.get("/admin/registry/mobileapp/").content.decode()
    assert "whoever reads the ApiToken out of the app&#x27;s binary can register" in page


@pytest.mark.usefixtures("new_minute")
def test_who_tries_api_tokens_is_limited(shop: MobileApp, settings: Settings) -> None:
    settings.TOKENHUB_LIMIT_REFUSED = 2
    body = {"MobileAppId": ZEROS, "UserId": USER, "ApiToken": "x", "FcmDeviceToken": FCM}
    assert [post("pushdeviceregistration/devices", body).status_code for _ in range(3)] == [400, 400, 429]


@pytest.mark.usefixtures("new_minute")
def test_the_address_limit_holds_here_too(shop: MobileApp, settings: Settings) -> None:
    settings.TOKENHUB_LIMIT_ADDRESS = 1
    assert [register().status_code for _ in range(2)] == [202, 429]


def test_what_the_app_gave_is_not_looked_up_afresh(shop: MobileApp) -> None:
    register()
    server = Api(create_key(app=shop, kind="server"))
    answer = server.client.put(f"/api/v1/users/dataverse:{USER}", {"email": "anna@example.com"}, format="json")
    assert answer.status_code == 200
    assert DataverseMapping.objects.get().due_at is None


def test_a_made_up_user_of_that_name_becomes_the_record_s(shop: MobileApp) -> None:
    Api(create_key(app=shop, kind="server")).launch(user={"id": f"dataverse:{USER}"})
    register()
    mapping = DataverseMapping.objects.get()
    assert (mapping.state, str(mapping.dataverse_id), mapping.due_at) == ("mapped", USER, None)
