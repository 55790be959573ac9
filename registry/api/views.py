"""The endpoints under /api/v1/. Thin: serializers check, services act."""

from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry.api.authentication import Caller, caller_of
from registry.api.problems import SharedInstallationProblem, UserNotAllowedProblem
from registry.api.serializers import EventSerializer, LaunchSerializer, device_body, reported_event
from registry.models import Device
from registry.services.events import record_events
from registry.services.ingest import Result, find_device, record_launch, retire_device, sign_out
from registry.services.shared import SharedInstallation
from registry.states import Identity, KeyKind

MAX_EVENTS = 100


def may_name_user(caller: Caller) -> bool:
    """Whether the app's identity policy lets this key say who is signed in."""
    return caller.key.kind == KeyKind.SERVER or caller.app.identity == Identity.UNVERIFIED


def device_or_404(caller: Caller, installation_id: str) -> Device:
    device = find_device(caller.app, installation_id)
    if device is None:
        raise Http404("No device of this app has that installation id.")
    return device


class DevicesView(APIView):
    def post(self, request: Request) -> Response:
        """A launch: idempotent upsert by installation id."""
        caller = caller_of(request)
        serializer = LaunchSerializer(data=request.data, context={"app": caller.app})
        serializer.is_valid(raise_exception=True)
        allowed = may_name_user(caller)
        launch = serializer.to_launch(may_name_user=allowed)
        if launch.user is not None and not allowed:
            raise UserNotAllowedProblem
        try:
            device, result = record_launch(caller.app, launch)
        except SharedInstallation:
            raise SharedInstallationProblem from None
        return Response(
            {"installation_id": device.installation_id, "result": result.value},
            status=status.HTTP_201_CREATED if result is Result.CREATED else status.HTTP_200_OK,
        )


class DeviceView(APIView):
    def get(self, request: Request, installation_id: str) -> Response:
        """What is known of the device, and what stands between it and a push."""
        return Response(device_body(device_or_404(caller_of(request), installation_id)))

    def delete(self, request: Request, installation_id: str) -> Response:
        """Retire the device; its registration is cleaned up. It lives again when it posts again."""
        retire_device(device_or_404(caller_of(request), installation_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SignOutView(APIView):
    def post(self, request: Request, installation_id: str) -> Response:
        """Nobody is signed in on the device any more."""
        sign_out(device_or_404(caller_of(request), installation_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class EventsView(APIView):
    def post(self, request: Request) -> Response:
        """Keep one event or an array of them; they are relayed by the workers."""
        many = isinstance(request.data, list)
        if many and not 1 <= len(request.data) <= MAX_EVENTS:
            raise ValidationError([f"An array holds 1 to {MAX_EVENTS} events."])
        serializer = EventSerializer(data=request.data, many=many)
        serializer.is_valid(raise_exception=True)
        events = serializer.validated_data if many else [serializer.validated_data]
        record_events(caller_of(request).app, [reported_event(event) for event in events])
        return Response({"accepted": len(events)}, status=status.HTTP_202_ACCEPTED)
