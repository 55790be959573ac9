"""The endpoints under /api/v1/. Thin: serializers check, services act."""

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from registry.api.answers import DeviceAnswer, EventsResult, LaunchResult, SignOutResult
from registry.api.authentication import Caller, caller_of
from registry.api.base import Endpoint
from registry.api.events import ERROR, UNPROVEN, report_events
from registry.api.fields import INSTALLATION_ID
from registry.api.identity import shown_secret, who
from registry.api.openapi import INSTALLATION_SECRET
from registry.api.problems import InstallationSecretProblem, SharedInstallationProblem
from registry.api.serializers import (
    EventSerializer,
    LaunchSerializer,
    SignOutSerializer,
    device_body,
    to_launch,
)
from registry.models import Device
from registry.services import installations
from registry.services.ingest import Result, find_device, record_launch, retire_device, sign_out
from registry.services.shared import SharedInstallation
from registry.states import RetiredReason

MAX_EVENTS = 100
EVENTS = {
    "oneOf": [
        {"$ref": "#/components/schemas/Event"},
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_EVENTS,
            "items": {"anyOf": [{"$ref": "#/components/schemas/Event"}, {}]},
            "description": "An event that is not as described costs only itself: its result is `error`.",
        },
    ]
}
INSTALLATION = OpenApiParameter(
    "installation_id", {"type": "string", "pattern": f"^{INSTALLATION_ID}$"}, OpenApiParameter.PATH
)


def device_or_404(caller: Caller, installation_id: str) -> Device:
    device = find_device(caller.app, installation_id)
    if device is None:
        raise Http404("No device of this app has that installation id.")
    return device


def own_device_or_404(request: Request, installation_id: str, *, deleted: bool = False) -> Device:
    """As above; a mobile key has to show the installation's secret, where it has one. `deleted` ones on demand."""
    caller = caller_of(request)
    device = device_or_404(caller, installation_id)
    if device.retired_reason == RetiredReason.DELETED and not deleted:
        raise Http404("The device was deleted. It lives again when its app posts again.")
    shown = shown_secret(request)
    if shown is not None:
        try:
            installations.prove(device, shown)
        except installations.NotYourInstallation:
            raise InstallationSecretProblem from None
    return device


class DevicesView(Endpoint):
    problems = {"POST": ["409"]}

    @extend_schema(
        operation_id="launch",
        request=LaunchSerializer,
        responses={200: LaunchResult, 201: LaunchResult},
        parameters=[INSTALLATION_SECRET],
    )
    def post(self, request: Request) -> Response:
        """A launch: idempotent upsert by installation id."""
        caller = caller_of(request)
        serializer = LaunchSerializer(data=request.data, context={"app": caller.app})
        serializer.is_valid(raise_exception=True)
        posted = serializer.validated_data
        launch = to_launch(posted, **who(caller, posted), secret=shown_secret(request))
        try:
            recorded = record_launch(caller.app, launch)
        except SharedInstallation:
            raise SharedInstallationProblem from None
        except installations.NotYourInstallation:
            raise InstallationSecretProblem from None
        body = {"installation_id": launch.installation_id, "result": recorded.result.value}
        if recorded.secret:
            body["installation_secret"] = recorded.secret
        created = recorded.result is Result.CREATED
        return Response(body, status=status.HTTP_201_CREATED if created else status.HTTP_200_OK)


class DeviceView(Endpoint):
    @extend_schema(operation_id="device", responses=DeviceAnswer, parameters=[INSTALLATION_SECRET, INSTALLATION])
    def get(self, request: Request, installation_id: str) -> Response:
        """What is known of the device, and what stands between it and a push."""
        return Response(device_body(own_device_or_404(request, installation_id)))

    @extend_schema(operation_id="delete_device", responses={204: None}, parameters=[INSTALLATION_SECRET, INSTALLATION])
    def delete(self, request: Request, installation_id: str) -> Response:
        """Retire the device; its registration is cleaned up. It lives again when it posts again."""
        retire_device(own_device_or_404(request, installation_id, deleted=True))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SignOutView(Endpoint):
    @extend_schema(
        operation_id="sign_out",
        request=SignOutSerializer,
        responses=SignOutResult,
        parameters=[INSTALLATION_SECRET, INSTALLATION],
    )
    def post(self, request: Request, installation_id: str) -> Response:
        """Nobody is signed in on the device any more."""
        # A deleted one, too: it may live again, and must not bring its former user along.
        device = own_device_or_404(request, installation_id, deleted=True)
        serializer = SignOutSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        result = sign_out(device, serializer.validated_data.get("sequence"))
        return Response({"installation_id": device.installation_id, "result": result.value})


class EventsView(Endpoint):
    components = [EventSerializer]
    body_required = True

    @extend_schema(
        operation_id="report_events",
        request={"application/json": EVENTS},
        responses={202: EventsResult},
        parameters=[INSTALLATION_SECRET],
    )
    def post(self, request: Request) -> Response:
        """Keep one event or an array of them, to be relayed. In an array each has its own result, a wrong one too."""
        posted = request.data
        if not isinstance(posted, list):
            (result,) = report_events(request, [posted])
            if result.get("errors") is UNPROVEN:
                raise InstallationSecretProblem
            if result["result"] == ERROR:
                raise ValidationError({error["field"]: [error["detail"]] for error in result["errors"]})
            return Response({"results": [result]}, status=status.HTTP_202_ACCEPTED)
        if not 1 <= len(posted) <= MAX_EVENTS:
            raise ValidationError([f"An array holds 1 to {MAX_EVENTS} events."])
        return Response({"results": report_events(request, posted)}, status=status.HTTP_202_ACCEPTED)
