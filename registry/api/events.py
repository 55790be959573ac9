"""Reported events: checked one by one, so that a bad one costs only itself."""

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from registry.api.authentication import caller_of
from registry.api.identity import shown_secret
from registry.api.problems import InstallationSecretProblem, field_errors
from registry.api.serializers import EventSerializer, reported_event
from registry.services.events import Kept, ReportedEvent, record_events

ERROR = "error"
UNPROVEN = [{"field": "installation_id", "detail": str(InstallationSecretProblem.default_detail)}]


def report_events(request: Request, events: Sequence[Any]) -> list[dict[str, Any]]:
    """Keep the events; return for each `{"result": …}`, and `errors` as a problem has them where it is `error`."""
    serializer = EventSerializer()
    results: list[dict[str, Any]] = [{} for _ in events]
    good: dict[int, ReportedEvent] = {}
    for number, event in enumerate(events):
        try:
            good[number] = reported_event(serializer.run_validation(event))
        except serializers.ValidationError as error:
            results[number] = {"result": ERROR, "errors": field_errors(error.detail)}
    kept = record_events(caller_of(request).app, list(good.values()), shown_secret(request))
    for number, result in zip(good, kept, strict=True):
        unproven = result is Kept.UNPROVEN
        results[number] = {"result": ERROR, "errors": UNPROVEN} if unproven else {"result": result.value}
    return results
