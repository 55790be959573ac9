"""Is a body what developer-push-device-registration.md and developer-push-interactions.md describe? Else 400."""

import json
import re
from dataclasses import dataclass
from typing import Any

from sandbox.wire import Answer, Incoming, RefusedError

BATCH_LIMIT = 100
APNS_TOKEN_LENGTH = 64
# The column that CI-J keeps tokens in; a longer one is accepted, and fails later with DeviceTokenTooLong.
STORED_TOKEN_LENGTH = 300
OPENED = (1, "1", "Opened")
# Today's samples still send the link click of the 2023 documentation's table.
CLICKED = (0, "0")

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-fA-F]+")


def bad_request(message: str) -> RefusedError:
    """400; the body of such an answer is not documented. Messages never quote a token."""
    return RefusedError(Answer(400, {"error": {"code": "BadRequest", "message": message}}))


@dataclass(frozen=True, slots=True)
class Device:
    """A registration request that is well formed; ids are in lower case, the platform is `ios` or `android`."""

    mobile_app_id: str
    user_id: str
    api_token: str
    platform: str
    token: str


@dataclass(frozen=True, slots=True)
class Cleanup:
    """A cleanup request that is well formed; without a token it is meant for all devices of the user."""

    mobile_app_id: str
    user_id: str
    api_token: str
    token: str | None


def parse(call: Incoming) -> None:
    """Read the body as JSON into `call.payload`, and note for the journal whom it names, however odd it is."""
    call.org_id = guid(call.params["org_id"], "OrgId")
    content_type = call.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if content_type != "application/json":
        raise bad_request("The body must be application/json.")
    try:
        call.payload = json.loads(call.body)
    except ValueError:
        raise bad_request("The body is not JSON.") from None
    rows = call.payload if isinstance(call.payload, list) else [call.payload]
    objects = [row for row in rows if isinstance(row, dict)]
    if objects:
        app = _text(objects[0].get("MobileAppId"))
        call.mobile_app_id = app.lower() if app else None
    call.items = tuple((_text(row.get("UserId")), _token_of(row)) for row in objects if "UserId" in row)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _token_of(row: dict[str, Any]) -> str | None:
    for name in ("ApnsDeviceToken", "FcmDeviceToken", "DeviceToken"):
        if token := _text(row.get(name)):
            return token
    return None


def guid(value: object, name: str) -> str:
    """The value in lower case, if it is a GUID with dashes."""
    if not isinstance(value, str) or not _GUID.fullmatch(value):
        raise bad_request(f"{name} is not a GUID.")
    return value.lower()


def _object(value: object, required: set[str], optional: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_request("A JSON object is expected.")
    if unknown := value.keys() - required - optional:
        raise bad_request(f"Unknown property: {', '.join(sorted(unknown))}.")
    if missing := required - value.keys():
        raise bad_request(f"Missing property: {', '.join(sorted(missing))}.")
    return value


def _string(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise bad_request(f"{name} must be a string, not empty.")
    return value


def device(value: object) -> Device:
    """One registration request."""
    row = _object(value, {"MobileAppId", "UserId", "ApiToken"}, {"ApnsDeviceToken", "FcmDeviceToken"})
    if ("ApnsDeviceToken" in row) == ("FcmDeviceToken" in row):
        raise bad_request("Exactly one of ApnsDeviceToken and FcmDeviceToken is expected.")
    name = "ApnsDeviceToken" if "ApnsDeviceToken" in row else "FcmDeviceToken"
    token = _string(row[name], name)
    raw_apns = len(token) <= APNS_TOKEN_LENGTH and _HEX.fullmatch(token)
    if name == "ApnsDeviceToken" and not raw_apns and len(token) <= STORED_TOKEN_LENGTH:
        raise bad_request("ApnsDeviceToken is not a raw APNs token: up to 64 hexadecimal digits.")
    return Device(
        mobile_app_id=guid(row["MobileAppId"], "MobileAppId"),
        user_id=guid(row["UserId"], "UserId"),
        api_token=_string(row["ApiToken"], "ApiToken"),
        platform="ios" if name == "ApnsDeviceToken" else "android",
        token=token,
    )


def cleanup(value: object) -> Cleanup:
    """One cleanup request."""
    row = _object(value, {"MobileAppId", "UserId", "ApiToken"}, {"DeviceToken"})
    return Cleanup(
        mobile_app_id=guid(row["MobileAppId"], "MobileAppId"),
        user_id=guid(row["UserId"], "UserId"),
        api_token=_string(row["ApiToken"], "ApiToken"),
        token=_string(row["DeviceToken"], "DeviceToken") if "DeviceToken" in row else None,
    )


def batch(value: object) -> list[Any]:
    """An array of 1 to 100 items."""
    if not isinstance(value, list):
        raise bad_request("A JSON array is expected.")
    if not 1 <= len(value) <= BATCH_LIMIT:
        raise bad_request(f"An array of 1 to {BATCH_LIMIT} items is expected, not {len(value)}.")
    return value


def status_query(value: object) -> tuple[str, str, list[str]]:
    """MobileAppId, ApiToken and the request ids of a status call."""
    row = _object(value, {"RegistrationRequestIds", "MobileAppId", "ApiToken"}, set())
    ids = [guid(item, "RegistrationRequestIds") for item in batch(row["RegistrationRequestIds"])]
    return guid(row["MobileAppId"], "MobileAppId"), _string(row["ApiToken"], "ApiToken"), ids


def event(value: object) -> tuple[str, str, int | str]:
    """TrackingId, DeviceToken and PushNotificationStatus of an interaction event."""
    row = _object(value, {"TrackingId", "DeviceToken", "PushNotificationStatus"}, set())
    status = row["PushNotificationStatus"]
    if isinstance(status, bool) or status not in OPENED + CLICKED:
        raise bad_request("PushNotificationStatus is not one of the documented values.")
    return guid(row["TrackingId"], "TrackingId"), _string(row["DeviceToken"], "DeviceToken"), status


def tracking(headers: Any) -> bool:
    """The header `x-ms-track-registration`; absent means no."""
    value = headers.get("x-ms-track-registration", "false").strip().lower()
    if value not in ("true", "false"):
        raise bad_request("x-ms-track-registration is true or false.")
    return bool(value == "true")


def callback_headers(headers: Any) -> dict[str, str]:
    """The header `x-ms-callback-url-headers`: a dictionary of strings, as JSON; absent means empty."""
    try:
        value = json.loads(headers.get("x-ms-callback-url-headers") or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise bad_request("x-ms-callback-url-headers is not the JSON of a dictionary of strings.")
    return value
