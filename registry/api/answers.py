"""What the endpoints answer, as the OpenAPI document has it."""

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from registry.states import DeviceState, ErasureState, EventState, MappingState, Platform, RegistrationState


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


class FieldError(serializers.Serializer[None]):
    field = serializers.CharField()
    detail = serializers.CharField()


class _ReportedEvent(serializers.Serializer[None]):
    result = serializers.ChoiceField(["accepted", "duplicate", "error"])
    errors = FieldError(many=True, required=False)  # type: ignore[assignment]


@extend_schema_serializer(component_name="EventsResult")
class EventsResult(serializers.Serializer[None]):
    results = _ReportedEvent(many=True, help_text="Of each event, in their order.")


class _ImportedRow(serializers.Serializer[None]):
    result = serializers.ChoiceField(["created", "updated", "unchanged", "stale", "retired", "error"])
    errors = FieldError(many=True, required=False)  # type: ignore[assignment]


@extend_schema_serializer(component_name="ImportResult")
class ImportResult(serializers.Serializer[None]):
    results = _ImportedRow(many=True, help_text="Of each row, in their order.")


@extend_schema_serializer(component_name="UserProfile")
class UserAnswer(serializers.Serializer[None]):
    id = serializers.CharField()
    email = serializers.CharField(allow_null=True)
    phone = serializers.CharField(allow_null=True)
    push_consent = serializers.BooleanField()
    tracking_consent = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class _ExportedMapping(serializers.Serializer[None]):
    state = serializers.ChoiceField(MappingState.choices)
    table = serializers.CharField(allow_blank=True)
    dataverse_id = serializers.UUIDField(allow_null=True)
    matched_by = serializers.CharField(allow_blank=True)
    candidates = serializers.ListField(help_text="The records that match, where there are several.")
    detail = serializers.CharField(allow_blank=True)
    checked_at = serializers.DateTimeField(allow_null=True)


class _ExportedDevice(serializers.Serializer[None]):
    installation_id = serializers.CharField()
    platform = serializers.ChoiceField(Platform.choices)
    token = serializers.CharField()
    app_version = serializers.CharField(allow_blank=True)
    os_version = serializers.CharField(allow_blank=True)
    model = serializers.CharField(allow_blank=True)
    locale = serializers.CharField(allow_blank=True)
    time_zone = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    token_changed_at = serializers.DateTimeField()
    retired_at = serializers.DateTimeField(allow_null=True)
    retired_reason = serializers.CharField(allow_blank=True)


class _ExportedRegistration(serializers.Serializer[None]):
    table = serializers.CharField()
    dataverse_id = serializers.UUIDField()
    platform = serializers.ChoiceField(Platform.choices)
    token = serializers.CharField()
    desired = serializers.BooleanField()
    state = serializers.ChoiceField(RegistrationState.choices)
    reason = serializers.CharField(allow_blank=True)
    detail = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)
    registered_at = serializers.DateTimeField(allow_null=True)
    cleaned_at = serializers.DateTimeField(allow_null=True)


class _ExportedEvent(serializers.Serializer[None]):
    token = serializers.CharField(allow_blank=True)
    status = serializers.CharField()
    tracking_id = serializers.UUIDField(allow_null=True)
    message_id = serializers.CharField(allow_blank=True)
    occurred_at = serializers.DateTimeField()
    received_at = serializers.DateTimeField()
    state = serializers.ChoiceField(EventState.choices)
    reason = serializers.CharField(allow_blank=True)
    relayed_at = serializers.DateTimeField(allow_null=True)


class _ExportedHistory(serializers.Serializer[None]):
    at = serializers.DateTimeField()
    what = serializers.CharField(help_text="What happened, in words")
    token_end = serializers.CharField(allow_blank=True, help_text="The end of the device's push token then")


@extend_schema_serializer(component_name="UserExport")
class UserExport(UserAnswer):
    mapping = _ExportedMapping(allow_null=True)
    devices = _ExportedDevice(many=True)
    registrations = _ExportedRegistration(many=True)
    events = _ExportedEvent(many=True)
    history = _ExportedHistory(many=True)


@extend_schema_serializer(component_name="Erasure")
class ErasureAnswer(serializers.Serializer[None]):
    receipt = serializers.UUIDField()
    app = serializers.CharField()
    state = serializers.ChoiceField(ErasureState.choices)
    requested_at = serializers.DateTimeField()
    requested_by = serializers.CharField()
    finished_at = serializers.DateTimeField(allow_null=True)
    finished_by = serializers.CharField(allow_blank=True)
    devices = serializers.IntegerField(help_text="deleted by now, like the next two")
    registrations = serializers.IntegerField()
    events = serializers.IntegerField()
    not_cleaned_up = serializers.IntegerField(
        help_text="Registrations that Customer Insights - Journeys may still have held at a forced end"
    )
    note = serializers.CharField(allow_blank=True)
