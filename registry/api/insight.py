"""What became of messages, for server keys: JSON, and as files for spreadsheets."""

from datetime import date
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from registry.api.authentication import ServerKey, caller_of
from registry.api.base import Endpoint
from registry.services import insight

PERIOD = [
    OpenApiParameter("since", OpenApiTypes.DATE, description="The first day (UTC); left out: 30 days up to `until`."),
    OpenApiParameter("until", OpenApiTypes.DATE, description="The last day; left out: today."),
]


class PeriodSerializer(serializers.Serializer[Any]):
    since = serializers.DateField(required=False)
    until = serializers.DateField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "since" in attrs and "until" in attrs and attrs["since"] > attrs["until"]:
            raise serializers.ValidationError({"since": ["is after until."]})
        return attrs


class SumsAnswer(serializers.Serializer[Any]):
    opened = serializers.IntegerField(help_text="By known devices, whether relayed or not.")
    relayed = serializers.IntegerField()
    waiting = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="Dead letters.")
    discarded = serializers.IntegerField()
    no_consent = serializers.IntegerField()
    too_old = serializers.IntegerField()
    unknown_device = serializers.IntegerField()
    test_send = serializers.IntegerField()
    registered_devices = serializers.IntegerField(
        allow_null=True, help_text="On the day, or on the message's first; null where they were not counted."
    )
    open_rate = serializers.FloatField(allow_null=True, help_text="`opened` of `registered_devices`.")


class DayAnswer(SumsAnswer):
    day = serializers.DateField()


class MessageAnswer(SumsAnswer):
    tracking_id = serializers.UUIDField()
    first_day = serializers.DateField()


def _period(request: Request) -> tuple[date, date]:
    asked = PeriodSerializer(data=request.query_params.dict())  # an empty one is no date
    asked.is_valid(raise_exception=True)
    return insight.period(**asked.validated_data)


class _InsightView(Endpoint):
    parameters = ("since", "until")
    permission_classes = [ServerKey]


class _FileView(_InsightView):
    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """The file is what it is, whatever is accepted; what went wrong is told as JSON."""
        return super().perform_content_negotiation(request, force=True)


def _file(name: str, text: str) -> HttpResponse:
    disposition = f'attachment; filename="{name}.csv"'
    return HttpResponse(text, content_type="text/csv; charset=utf-8", headers={"Content-Disposition": disposition})


class DaysView(_InsightView):
    @extend_schema(operation_id="insight_days", parameters=PERIOD, responses=DayAnswer(many=True))
    def get(self, request: Request) -> Response:
        """Opens by day, newest first; days without events are left out."""
        return Response(DayAnswer(insight.by_day(caller_of(request).app, *_period(request)), many=True).data)


class MessagesView(_InsightView):
    @extend_schema(operation_id="insight_messages", parameters=PERIOD, responses=MessageAnswer(many=True))
    def get(self, request: Request) -> Response:
        """Opens by message (tracking id): the 1,000 that were opened most."""
        return Response(MessageAnswer(insight.by_message(caller_of(request).app, *_period(request)), many=True).data)


class DaysFileView(_FileView):
    @extend_schema(operation_id="insight_days_csv", parameters=PERIOD, responses={(200, "text/csv"): str})
    def get(self, request: Request) -> HttpResponse:
        """Opens by day, as CSV."""
        return _file("days", insight.as_csv(insight.Day, insight.by_day(caller_of(request).app, *_period(request))))


class MessagesFileView(_FileView):
    @extend_schema(operation_id="insight_messages_csv", parameters=PERIOD, responses={(200, "text/csv"): str})
    def get(self, request: Request) -> HttpResponse:
        """Opens by message, as CSV."""
        lines = insight.by_message(caller_of(request).app, *_period(request))
        return _file("messages", insight.as_csv(insight.Message, lines))
