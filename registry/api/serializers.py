"""What the endpoints take and give, field by field."""

from collections.abc import Callable
from heapq import nsmallest
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from registry.api.fields import (
    EmailAddressField,
    InstallationIdField,
    MomentField,
    PhoneNumberField,
    SequenceField,
    StrictBooleanField,
    TextField,
    TimeZoneField,
    TrackingIdField,
    UserIdField,
)
from registry.api.problems import MAX_ERRORS
from registry.models import Device, MobileApp
from registry.services.desired import device_status
from registry.services.errors import InvalidInput
from registry.services.events import ReportedEvent
from registry.services.ingest import INFO_FIELDS, Launch, LaunchUser
from registry.services.normalise import device_token, email_address, phone_number
from registry.states import Platform

MAX_IMPORT = 1000
IOS = "^[0-9A-Fa-f]{1,64}$"
ANDROID = "^(?!([cdef][A-Za-z0-9_-]{21}|[0-9A-Fa-f]{64})$)[!-~]{1,300}$"


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

    id = UserIdField(required=False)
    token = TextField(max_length=8192, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One way of naming the user, and only the keys to match by that may come with it."""
        if ("id" in attrs) == ("token" in attrs):
            raise serializers.ValidationError({"id": ["Give exactly one of id and token."]})
        if "token" in attrs and (said := attrs.keys() & {"email", "phone"}):
            raise serializers.ValidationError({name: ["comes from the token alone."] for name in sorted(said)})
        return super().validate(attrs)


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
