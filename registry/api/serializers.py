"""What the endpoints take and give, field by field."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from heapq import nsmallest
from typing import Any
from zoneinfo import available_timezones

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from registry.api.problems import MAX_ERRORS
from registry.models import Device, MobileApp
from registry.services.desired import device_status
from registry.services.errors import InvalidInput
from registry.services.events import ReportedEvent
from registry.services.ingest import INFO_FIELDS, Launch, LaunchUser
from registry.services.normalise import device_token, email_address, phone_number
from registry.states import Platform

MAX_IMPORT = 1000
INSTALLATION_ID = r"[A-Za-z0-9._:\-]{1,128}"
UNREADABLE = "\ufffd"
FORBIDDEN = re.compile("[\\x00-\\x1f\\ud800-\\udfff]")
IOS = "^[0-9A-Fa-f]{1,64}$"
ANDROID = "^(?!([cdef][A-Za-z0-9_-]{21}|[0-9A-Fa-f]{64})$)[!-~]{1,300}$"
GUID = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"


# Walks the time zone folders: once a process, not once a launch.
time_zones = cache(available_timezones)


class RuledSerializer(serializers.Serializer[Any]):
    """`rules` is what JSON Schema can say of it that its fields alone do not."""

    rules: dict[str, Any] = {}
    strict = False


class StrictSerializer(RuledSerializer):
    """Refuses fields that it does not know: a misspelt one would be lost silently."""

    strict = True

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := data.keys() - self.fields.keys()):
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {
                    name: [f"is not a field of this request; known are: {known}."]
                    for name in nsmallest(MAX_ERRORS, unknown)
                }
            )
        return super().to_internal_value(data)


def checked[T](normalise: Callable[..., T], *args: Any) -> T:
    """Call a service's check; its InvalidInput becomes a ValidationError of that field."""
    try:
        return normalise(*args)
    except InvalidInput as error:
        raise serializers.ValidationError({error.field: [error.message]}) from None


class TextField(serializers.CharField):
    """Text only: a number or a boolean is a mistake of the caller's, not text. No control characters."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if FORBIDDEN.search(data):
            raise serializers.ValidationError("Control characters and lone surrogates are not allowed.")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "format": "user-id"})
class UserIdField(TextField):
    """Your own id of a user. Two that look alike would be two users: all of it can be seen."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if UNREADABLE in text:
            raise serializers.ValidationError("holds U+FFFD, which stands for what is no UTF-8.")
        for character in text:
            if not character.isprintable():
                raise serializers.ValidationError(
                    f"holds U+{ord(character):04X}: control, direction and zero-width characters are not allowed."
                )
        return text


@extend_schema_field({"type": "string", "format": "time-zone"})
class TimeZoneField(TextField):
    """The IANA name of a time zone, or nothing."""

    default_error_messages = {"unknown": "is not an IANA time zone, e.g. Europe/Berlin."}

    def to_internal_value(self, data: Any) -> str:
        name = super().to_internal_value(data)
        if name and name not in time_zones():
            self.fail("unknown")
        return name


@extend_schema_field({"type": "string", "format": "date-time"})
class MomentField(TextField):
    """A time that lies behind us. Phones' clocks are wrong: what is yet to come is now."""

    default_error_messages = {"form": "is not a time with its offset, e.g. 2026-11-24T08:30:00+01:00."}

    def to_internal_value(self, data: Any) -> datetime:  # type: ignore[override]
        text = super().to_internal_value(data)
        try:
            moment = parse_datetime(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail("form")
        try:
            return min(moment.astimezone(UTC), timezone.now())
        except OverflowError:  # within a day of the first or the last year that there is
            return datetime.min.replace(tzinfo=UTC) if moment.year == 1 else timezone.now()


@extend_schema_field({"type": "string", "format": "email-address"})
class EmailAddressField(TextField):
    """What `email_address` takes, or nothing."""


@extend_schema_field({"type": "string", "format": "phone-number"})
class PhoneNumberField(TextField):
    """What `phone_number` takes, or nothing."""


class StrictBooleanField(serializers.BooleanField):
    """true or false, not the words that could mean them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Must be true or false.")
        return data


@extend_schema_serializer(component_name="Profile")
class ProfileSerializer(StrictSerializer):
    """What is known of a user. Left out: stays as it is; null: taken away."""

    email = EmailAddressField(max_length=254, required=False, allow_null=True, allow_blank=True)
    phone = PhoneNumberField(max_length=64, required=False, allow_null=True, allow_blank=True)
    push_consent = StrictBooleanField(required=False)
    tracking_consent = StrictBooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Normalise the keys to match by; null or blank takes a key away."""
        app: MobileApp = self.context["app"]
        for name in ("email", "phone"):
            if name in attrs:
                attrs[name] = (attrs[name] or "").strip()
        if attrs.get("email"):
            attrs["email"] = checked(email_address, "email", attrs["email"])
        if attrs.get("phone"):
            attrs["phone"] = checked(phone_number, "phone", attrs["phone"], app.default_region)
        return attrs


@extend_schema_serializer(component_name="User")
class UserSerializer(ProfileSerializer):
    """Who is signed in: by your own id of them, or by a signed token that names them."""

    rules = {
        "oneOf": [
            {"required": ["id"], "properties": {"token": False}},
            {"required": ["token"], "properties": {"id": False, "email": False, "phone": False}},
        ],
    }

    id = UserIdField(max_length=255, required=False)
    token = TextField(max_length=8192, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One way of naming the user, and only the keys to match by that may come with it."""
        if ("id" in attrs) == ("token" in attrs):
            raise serializers.ValidationError({"id": ["Give exactly one of id and token."]})
        if "token" in attrs and (said := attrs.keys() & {"email", "phone"}):
            raise serializers.ValidationError({name: ["comes from the token alone."] for name in sorted(said)})
        return super().validate(attrs)


@extend_schema_field({"type": "string", "pattern": f"^{INSTALLATION_ID}$"})
class InstallationIdField(TextField):
    """Made once by the app, and kept."""

    default_error_messages = {"form": "Must be 1 to 128 letters, digits and . _ : - characters."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not re.fullmatch(INSTALLATION_ID, text):
            self.fail("form")
        return text


@extend_schema_field({"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
class SequenceField(serializers.IntegerField):
    """A whole number that the phone only ever raises."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=2**63 - 1, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        # To JSON 7.0 is a whole number too.
        whole = isinstance(data, int) or (isinstance(data, float) and data.is_integer())
        if not whole or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(int(data))


@extend_schema_serializer(component_name="SignOut")
class SignOutSerializer(StrictSerializer):
    """A sign-out; the body may be left out."""

    sequence = SequenceField(required=False)


@extend_schema_serializer(
    component_name="Launch",
    examples=[
        OpenApiExample(
            "Android, somebody signed in",
            {
                "installation_id": "0b7c8f0e-5a3f-4a53-9d36-2c1f6f1f9a10",
                "platform": "android",
                "token": "dQw4w9WgXcQ:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx",
                "user": {"id": "anna", "email": "anna@example.com", "push_consent": True},
                "app_version": "4.2.0",
                "time_zone": "Europe/Berlin",
                "sequence": 7,
            },
        ),
        OpenApiExample(
            "iOS, nobody signed in",
            {
                "installation_id": "6F1C0C5E-2C0B-4D6B-8F0A-9E5D3C7B1A24",
                "platform": "ios",
                "token": "740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad",
                "user": None,
            },
        ),
    ],
)
class LaunchSerializer(StrictSerializer):
    """A launch of the app on one phone."""

    rules = {
        "oneOf": [
            {"properties": {"platform": {"const": "ios"}, "token": {"pattern": IOS}}},
            {"properties": {"platform": {"const": "android"}, "token": {"pattern": ANDROID}}},
        ],
    }

    installation_id = InstallationIdField()
    platform = serializers.ChoiceField(Platform.choices)
    token = TextField(max_length=4096, trim_whitespace=False)
    user = UserSerializer(required=False, allow_null=True)
    app_version = TextField(max_length=64, required=False, allow_blank=True)
    os_version = TextField(max_length=64, required=False, allow_blank=True)
    model = TextField(max_length=128, required=False, allow_blank=True)
    locale = TextField(max_length=35, required=False, allow_blank=True)
    time_zone = TimeZoneField(max_length=64, required=False, allow_blank=True)
    sequence = SequenceField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs["token"] = checked(device_token, "token", attrs["token"], attrs["platform"])
        return attrs


def to_launch(data: dict[str, Any], user: LaunchUser | None, **more: Any) -> Launch:
    """A validated post as a Launch; who the user is, and `more` fields of the launch, are the caller's to say."""
    return Launch(
        installation_id=data["installation_id"],
        platform=data["platform"],
        token=data["token"],
        user=user,
        info={name: data[name] for name in INFO_FIELDS if name in data},
        sequence=data.get("sequence"),
        **more,
    )


@extend_schema_serializer(component_name="ImportedUser")
class ImportedUserSerializer(UserSerializer):
    """Whose device it is."""

    rules = {"required": ["id"]}

    token = None  # type: ignore[assignment]


@extend_schema_serializer(component_name="ImportedDevice")
class ImportedDeviceSerializer(LaunchSerializer):
    """A device that another system knows."""

    user = ImportedUserSerializer(required=False, allow_null=True)
    last_seen = MomentField(required=False)
    retired_at = MomentField(required=False)


@extend_schema_serializer(component_name="Import")
class ImportSerializer(StrictSerializer):
    """Devices that another system knows, in the order in which it met them."""

    rules = {
        "properties": {
            "devices": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_IMPORT,
                "items": {"anyOf": [{"$ref": "#/components/schemas/ImportedDevice"}, {}]},
                "description": "A row that is not as described costs only itself: its result is `error`.",
            }
        }
    }

    devices = ImportedDeviceSerializer(many=True)

    def to_internal_value(self, data: Any) -> Any:
        """The rows as they are: each is checked on its own."""
        rows = data.get("devices") if isinstance(data, dict) else None
        if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_IMPORT:
            raise serializers.ValidationError({"devices": [f"must be an array of 1 to {MAX_IMPORT} devices."]})
        return super().to_internal_value({**data, "devices": []}) | {"devices": rows}


def device_body(device: Device) -> dict[str, Any]:
    """What is known of a device. The token is shown by its end."""
    status = device_status(device)
    user = device.user
    return {
        "installation_id": device.installation_id,
        "platform": device.platform,
        "token_end": device.token[-6:],
        "user": {"id": user.external_id} if user else None,
        **{name: getattr(device, name) for name in INFO_FIELDS},
        "created_at": device.created_at,
        "last_seen": device.last_seen,
        "shared_since": device.shared_since,
        "registration": {"state": status.state.value, "reason": status.reason},
    }


@extend_schema_field({"type": ["string", "null"], "pattern": f"^({GUID})?$"})
class TrackingIdField(serializers.Field[uuid.UUID | None, Any, Any, Any]):
    """A GUID; empty or all zeros (a test send has no tracking id) become None."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_internal_value(self, data: Any) -> uuid.UUID | None:
        if data == "":
            return None
        try:
            guid = uuid.UUID(data if isinstance(data, str) else "not text")
        except ValueError:
            raise serializers.ValidationError("is not a GUID.") from None
        return guid if guid.int else None


@extend_schema_serializer(
    component_name="Event",
    examples=[
        OpenApiExample(
            "A notification was opened",
            {
                "installation_id": "0b7c8f0e-5a3f-4a53-9d36-2c1f6f1f9a10",
                "tracking_id": "5b2f5a1e-63b9-4a0e-9f3a-3f1f0a3f7c11",
                "status": "opened",
                "occurred_at": "2026-11-24T08:30:00+01:00",
                "message_id": "open-1",
            },
        )
    ],
)
class EventSerializer(StrictSerializer):
    """What the user did with a notification."""

    rules = {"oneOf": [{"required": ["installation_id"]}, {"required": ["token"]}]}

    installation_id = InstallationIdField(required=False)
    token = TextField(max_length=300, required=False)
    tracking_id = TrackingIdField()
    status = serializers.ChoiceField(["opened"])
    occurred_at = MomentField(required=False)
    message_id = TextField(max_length=128, required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("installation_id" in attrs) == ("token" in attrs):
            raise serializers.ValidationError({"installation_id": ["Give exactly one of installation_id and token."]})
        return attrs


def reported_event(data: dict[str, Any]) -> ReportedEvent:
    """One validated event as the services take it."""
    return ReportedEvent(
        installation_id=data.get("installation_id", ""),
        token=data.get("token", ""),
        tracking_id=data["tracking_id"],
        status=data["status"],
        occurred_at=data.get("occurred_at"),
        message_id=data.get("message_id", ""),
    )
