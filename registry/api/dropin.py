"""The endpoints of Microsoft's own registration API, as apps that post straight to CI-J call them.

Names, bodies and answers are Microsoft's: MicrosoftDocs/customer-insights, ci-docs/journeys,
developer-push-device-registration.md and developer-push-interactions.md. Errors are problems, as everywhere here; such
apps look at the status alone. A callback that a registration asks for is not made: tokenhub calls no address that a
stranger names.
"""

import uuid
from collections.abc import Callable
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from registry.api.base import Endpoint
from registry.api.fields import TextField, TrackingIdField
from registry.api.limits import refuse_strangers
from registry.api.problems import DropInOffProblem
from registry.api.serializers import ANDROID, IOS, RuledSerializer, checked
from registry.api.throttling import AddressThrottle
from registry.models import MobileApp
from registry.services import dropin
from registry.services.events import ReportedEvent, record_events
from registry.services.normalise import device_token
from registry.states import Platform

MAX_BATCH = 100
NOT_THIS_APP = "MobileAppId and ApiToken are not those of an app of this organisation."
OPENED = (1, "1", "opened")
NOTHING = {"enum": [None, ""]}


class GuidField(serializers.UUIDField):
    """A GUID as text, in either case."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class _Proven(RuledSerializer):
    """What proves the app. Fields that Microsoft may add are passed over, as there."""

    MobileAppId = GuidField()
    ApiToken = TextField(max_length=4096, trim_whitespace=False)


@extend_schema_serializer(component_name="DropInRegistration")
class RegistrationSerializer(_Proven):
    """A device of a contact, lead or profile. Other fields are passed over."""

    rules = {
        "oneOf": [
            {
                "required": ["ApnsDeviceToken"],
                "properties": {"ApnsDeviceToken": {"type": "string", "pattern": IOS}, "FcmDeviceToken": NOTHING},
            },
            {
                "required": ["FcmDeviceToken"],
                "properties": {"FcmDeviceToken": {"type": "string", "pattern": ANDROID}, "ApnsDeviceToken": NOTHING},
            },
        ]
    }

    UserId = GuidField()
    ApnsDeviceToken = TextField(max_length=4096, required=False, allow_null=True, allow_blank=True)
    FcmDeviceToken = TextField(max_length=4096, required=False, allow_null=True, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        apns, fcm = attrs.get("ApnsDeviceToken"), attrs.get("FcmDeviceToken")
        if bool(apns) == bool(fcm):
            raise serializers.ValidationError({"ApnsDeviceToken": ["Give exactly one of it and FcmDeviceToken."]})
        name, platform = ("ApnsDeviceToken", Platform.IOS) if apns else ("FcmDeviceToken", Platform.ANDROID)
        return {**attrs, "platform": platform.value, "token": checked(device_token, name, apns or fcm, platform)}


@extend_schema_field(
    {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": {"type": "string", "format": "uuid"}}
)
class RequestIdsField(serializers.ListField):
    """1 to MAX_BATCH of them, counted before any is looked at."""

    child = GuidField()

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list) or not 1 <= len(data) <= MAX_BATCH:
            raise serializers.ValidationError(f"must be an array of 1 to {MAX_BATCH} ids.")
        return super().to_internal_value(data)


@extend_schema_serializer(component_name="DropInStatusQuestion")
class StatusSerializer(_Proven):
    """Registrations to be asked for. Other fields are passed over."""

    RegistrationRequestIds = RequestIdsField()


@extend_schema_serializer(component_name="DropInCleanup")
class CleanupSerializer(_Proven):
    """A device of a contact, lead or profile or, without a token, all of its devices. Other fields are passed over."""

    UserId = GuidField()
    DeviceToken = TextField(max_length=4096, required=False, allow_null=True, allow_blank=True)


@extend_schema_field({"oneOf": [{"const": 1}, {"type": "string", "pattern": "^(1|[Oo][Pp][Ee][Nn][Ee][Dd])$"}]})
class EventStatusField(serializers.Field[str, Any, Any, Any]):
    """1, "1" or "Opened": Microsoft's samples send all of them."""

    def to_internal_value(self, data: Any) -> str:
        said = data.lower() if isinstance(data, str) else data
        if isinstance(data, bool) or said not in OPENED:
            raise serializers.ValidationError("must be 1 (Opened). Links that were clicked CI-J notes by itself.")
        return "opened"


@extend_schema_serializer(component_name="DropInEvent")
class EventSerializer(RuledSerializer):
    """A notification that was opened. Other fields are passed over."""

    TrackingId = TrackingIdField()
    DeviceToken = TextField(max_length=4096, trim_whitespace=False)
    PushNotificationStatus = EventStatusField()


@extend_schema_serializer(component_name="DropInRegistered")
class RegisteredAnswer(serializers.Serializer[None]):
    RegistrationRequestId = serializers.UUIDField()


@extend_schema_serializer(component_name="DropInOutcome")
class OutcomeAnswer(serializers.Serializer[None]):
    Status = serializers.ChoiceField(["Pending", "Success", "Failed"])
    FailureReason = serializers.CharField(allow_blank=True)


ORG_ID = OpenApiParameter("org_id", OpenApiTypes.UUID, OpenApiParameter.PATH)
TRACKED = OpenApiParameter(
    "x-ms-track-registration",
    str,
    OpenApiParameter.HEADER,
    description="`true`: the answer holds the RegistrationRequestId of each.",
)
UNLESS_TRACKED = "Taken. The answer is empty without `x-ms-track-registration: true`."


def described[F: Callable[..., Any]](
    name: str, request: Any, responses: dict[int, Any], *headers: OpenApiParameter
) -> Callable[[F], F]:
    """What the document says of a call: its name, what it takes, and what it answers."""
    return extend_schema(
        operation_id=f"drop_in_{name}",
        tags=["drop-in"],
        parameters=[ORG_ID, *headers],
        request=request,
        responses=responses,
    )


def one_or_many(component: str, *, one: bool = False) -> dict[str, Any]:
    """The request of an array of a component's objects, 1 to MAX_BATCH of them, or of `one` of them."""
    item = {"$ref": f"#/components/schemas/{component}"}
    array = {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": item}
    return {"application/json": {"oneOf": [item, array]} if one else array}


class DropInView(Endpoint):
    parameters = None  # what Microsoft may add is passed over, as there
    authentication_classes = []
    permission_classes = []
    throttle_classes = [AddressThrottle]

    def proven(self, data: dict[str, Any], field: str = "ApiToken") -> MobileApp:
        """The app that the validated body proves. Raises problems."""
        try:
            return dropin.find_app(self.kwargs["org_id"], data["MobileAppId"], data["ApiToken"])
        except dropin.NotThisApp:
            refuse_strangers(self.request._request)  # noqa: SLF001 the headers' carrier
            raise serializers.ValidationError({field: [NOT_THIS_APP]}) from None
        except dropin.SwitchedOff:
            raise DropInOffProblem from None


def _validated(serializer: serializers.BaseSerializer[Any]) -> Any:
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def _items(data: Any, serializer: type[serializers.Serializer[Any]]) -> list[dict[str, Any]]:
    if isinstance(data, list) and not 1 <= len(data) <= MAX_BATCH:
        raise serializers.ValidationError([f"An array holds 1 to {MAX_BATCH} objects."])
    return list(_validated(serializer(data=data, many=True)))


class _Registrations(DropInView):
    def register(self, items: list[dict[str, Any]]) -> list[dict[str, uuid.UUID]]:
        """Take all of them or, where one is not the app's, none."""
        apps = [self.proven(item) for item in items]
        return [
            {"RegistrationRequestId": dropin.register(app, item["UserId"], item["platform"], item["token"])}
            for app, item in zip(apps, items, strict=True)
        ]

    def accepted(self, body: Any) -> Response:
        tracked = self.request.headers.get("x-ms-track-registration", "").strip().lower() == "true"
        return Response(body if tracked else None, status=status.HTTP_202_ACCEPTED)


class RegistrationView(_Registrations):
    @described("register", RegistrationSerializer, {202: OpenApiResponse(RegisteredAnswer, UNLESS_TRACKED)}, TRACKED)
    def post(self, request: Request, org_id: uuid.UUID) -> Response:
        """Register one device."""
        return self.accepted(self.register([_validated(RegistrationSerializer(data=request.data))])[0])


class RegistrationBatchView(_Registrations):
    components = [RegistrationSerializer]
    body_required = True

    @described(
        "register_many",
        one_or_many("DropInRegistration"),
        {202: OpenApiResponse(RegisteredAnswer(many=True), UNLESS_TRACKED)},
        TRACKED,
    )
    def post(self, request: Request, org_id: uuid.UUID) -> Response:
        """Register up to 100 devices."""
        return self.accepted(self.register(_items(request.data, RegistrationSerializer)))


class StatusView(DropInView):
    @described("status", StatusSerializer, {200: OutcomeAnswer(many=True)})
    def post(self, request: Request, org_id: uuid.UUID) -> Response:
        """What became of registrations."""
        data = _validated(StatusSerializer(data=request.data))
        outcomes = dropin.outcomes(self.proven(data), data["RegistrationRequestIds"])
        return Response([{"Status": outcome.status, "FailureReason": outcome.reason} for outcome in outcomes])


class _Cleanups(DropInView):
    def clean_up(self, items: list[dict[str, Any]]) -> Response:
        apps = [self.proven(item) for item in items]
        for app, item in zip(apps, items, strict=True):
            dropin.clean_up(app, item["UserId"], item.get("DeviceToken") or "")
        return Response(status=status.HTTP_202_ACCEPTED)


class CleanupView(_Cleanups):
    @described("clean_up", CleanupSerializer, {202: None})
    def post(self, request: Request, org_id: uuid.UUID) -> Response:
        """Take away one device of a user, or all of them."""
        return self.clean_up([_validated(CleanupSerializer(data=request.data))])


class CleanupBatchView(_Cleanups):
    components = [CleanupSerializer]
    body_required = True

    @described("clean_up_many", one_or_many("DropInCleanup", one=True), {202: None})
    def post(self, request: Request, org_id: uuid.UUID) -> Response:
        """The same for up to 100; documented with an array and with one object."""
        data = request.data if isinstance(request.data, list) else [request.data]
        return self.clean_up(_items(data, CleanupSerializer))


class EventView(DropInView):
    @described("event", EventSerializer, {202: None})
    def post(self, request: Request, org_id: uuid.UUID) -> Response:
        """Keep an event of a device whose token is known."""
        data = _validated(EventSerializer(data=request.data))
        app = dropin.app_of_token(org_id, data["DeviceToken"])
        if app is None:
            raise serializers.ValidationError({"DeviceToken": ["No device of this organisation has this token."]})
        report = ReportedEvent("", data["DeviceToken"], data["TrackingId"], data["PushNotificationStatus"], None, "")
        record_events(app, [report])
        return Response(status=status.HTTP_202_ACCEPTED)
