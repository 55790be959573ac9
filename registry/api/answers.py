"""What the endpoints answer, as the OpenAPI document has it."""

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from registry.states import DeviceState, Platform


@extend_schema_serializer(component_name="LaunchResult")
class LaunchResult(serializers.Serializer[None]):
    installation_id = serializers.CharField()
    result = serializers.ChoiceField(["created", "updated", "unchanged", "stale"])
    installation_secret = serializers.CharField(
        required=False, help_text="Keep it like a password, and send it as Installation-Secret from now on."
    )


@extend_schema_serializer(component_name="SignOutResult")
class SignOutResult(serializers.Serializer[None]):
    installation_id = serializers.CharField()
    result = serializers.ChoiceField(["updated", "unchanged", "stale"])


class _UserReference(serializers.Serializer[None]):
    id = serializers.CharField()


class _RegistrationStatus(serializers.Serializer[None]):
    state = serializers.ChoiceField(DeviceState.choices, help_text="The first that applies.")
    reason = serializers.CharField(help_text="The same for people.")


@extend_schema_serializer(component_name="Device")
class DeviceAnswer(serializers.Serializer[None]):
    installation_id = serializers.CharField()
    platform = serializers.ChoiceField(Platform.choices)
    token_end = serializers.CharField(max_length=6)
    user = _UserReference(allow_null=True)
    app_version = serializers.CharField(allow_blank=True)
    os_version = serializers.CharField(allow_blank=True)
    model = serializers.CharField(allow_blank=True)
    locale = serializers.CharField(allow_blank=True)
    time_zone = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    shared_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when two phones seem to post this installation id."
    )
    registration = _RegistrationStatus()


@extend_schema_serializer(component_name="EventsAccepted")
class EventsAccepted(serializers.Serializer[None]):
    accepted = serializers.IntegerField(min_value=1, max_value=100)
