"""The endpoints of users and of their erasure: for server keys alone."""

import uuid
from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from registry.api.answers import ErasureAnswer, UserAnswer, UserExport
from registry.api.authentication import ServerKey, caller_of
from registry.api.base import Endpoint
from registry.api.fields import UserIdField
from registry.api.serializers import ProfileSerializer
from registry.models import Erasure, MobileUser
from registry.services.erasure import erase_user, receipt
from registry.services.errors import InvalidInput
from registry.services.exports import export_user, find_user, profile
from registry.services.users import put_user

USER_ID = OpenApiParameter(
    "user_id",
    {
        "type": "string",
        "format": "user-id",
        "pattern": r"^[^\u0000-\u001f\s]([^\u0000-\u001f]{0,253}[^\u0000-\u001f\s])?$",
    },
    OpenApiParameter.PATH,
    description="Your own id of the user, percent-encoded.",
)


def checked_id(user_id: str) -> str:
    """The id that the path names, as launches have it. Raises ValidationError."""
    try:
        return str(UserIdField().run_validation(user_id))
    except serializers.ValidationError as error:
        raise serializers.ValidationError({"user_id": error.detail}) from None


def user_or_404(request: Request, user_id: str) -> MobileUser:
    user = find_user(caller_of(request).app, checked_id(user_id))
    if user is None:
        raise Http404("No user of this app has that id.")
    return user


class UserView(Endpoint):
    permission_classes = [ServerKey]

    @extend_schema(
        operation_id="put_user",
        request=ProfileSerializer,
        responses={200: UserAnswer, 201: UserAnswer},
        parameters=[USER_ID],
    )
    def put(self, request: Request, user_id: str) -> Response:
        """Make a user, or change one: what is left out stays as it is, null takes it away."""
        app = caller_of(request).app
        external_id = checked_id(user_id)
        serializer = ProfileSerializer(data=request.data, context={"app": app})
        serializer.is_valid(raise_exception=True)
        kept = put_user(app, external_id, serializer.validated_data)
        return Response(profile(kept.user), status.HTTP_201_CREATED if kept.created else status.HTTP_200_OK)

    @extend_schema(operation_id="export_user", responses=UserExport, parameters=[USER_ID])
    def get(self, request: Request, user_id: str) -> Response:
        """All that is held about the user, tokens included."""
        return Response(export_user(user_or_404(request, user_id)))

    @extend_schema(operation_id="erase_user", responses={202: ErasureAnswer}, parameters=[USER_ID])
    def delete(self, request: Request, user_id: str) -> Response:
        """Erase the user: at Customer Insights - Journeys first, then here. The answer is the receipt."""
        caller = caller_of(request)
        try:
            erasure = erase_user(caller.app, checked_id(user_id), f"API key {caller.key.hint}…")
        except InvalidInput:
            raise Http404("No user of this app has that id.") from None
        location = f"/api/v1/erasures/{erasure.pk}"
        return Response(receipt(erasure), status.HTTP_202_ACCEPTED, headers={"Location": location})


class ErasureView(Endpoint):
    permission_classes = [ServerKey]

    @extend_schema(
        operation_id="erasure",
        responses=ErasureAnswer,
        parameters=[OpenApiParameter("erasure_id", OpenApiTypes.UUID, OpenApiParameter.PATH)],
    )
    def get(self, request: Request, erasure_id: uuid.UUID) -> Response:
        """How far an erasure is. Holds no personal data."""
        erasure = Erasure.objects.filter(pk=erasure_id, app=caller_of(request).app).first()
        if erasure is None:
            raise Http404("There is no erasure of that receipt, or it is over for years.")
        erasure.app = caller_of(request).app
        body: dict[str, Any] = receipt(erasure)
        return Response(body)
