"""Rows of another system's devices: checked one by one, so that a bad one costs only itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from registry.api.answers import ImportResult
from registry.api.authentication import ServerKey, caller_of
from registry.api.base import Endpoint
from registry.api.parsers import ImportParser
from registry.api.problems import field_errors
from registry.api.serializers import ImportedDeviceSerializer, ImportSerializer, to_launch
from registry.models import MobileApp
from registry.services.imports import import_launches
from registry.services.ingest import Launch, LaunchUser

ERROR, RETIRED = "error", "retired"


@dataclass(frozen=True)
class CheckedRows:
    """The launches that rows say, and the answers to the other rows, by the number of the row."""

    launches: dict[int, Launch]
    answers: dict[int, dict[str, Any]]


def check_rows(app: MobileApp, rows: Sequence[Any]) -> CheckedRows:
    """Check every row on its own. Asks the database nothing."""
    serializer = ImportedDeviceSerializer(context={"app": app})
    checked = CheckedRows({}, {})
    for number, row in enumerate(rows):
        try:
            data = serializer.run_validation(row)
        except serializers.ValidationError as error:
            checked.answers[number] = {"result": ERROR, "errors": field_errors(error.detail)}
        else:
            # It would come to life again, and take its token back from the device that has it now.
            if "retired_at" in data:
                checked.answers[number] = {"result": RETIRED}
            else:
                checked.launches[number] = _launch(data)
    return checked


def import_rows(app: MobileApp, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Check and import the rows; return what `import_checked` does."""
    return import_checked(app, check_rows(app, rows))


def import_checked(app: MobileApp, checked: CheckedRows) -> list[dict[str, Any]]:
    """Import the rows; return for each `{"result": …}`, and `errors` as a problem has them where it is `error`."""
    answers = dict(checked.answers)
    for number, result in zip(checked.launches, import_launches(app, list(checked.launches.values())), strict=True):
        answers[number] = {"result": result.value}
    return [answers[number] for number in range(len(answers))]


def _launch(data: dict[str, Any]) -> Launch:
    posted = data.get("user")
    given = {name: value for name, value in (posted or {}).items() if name != "id"}
    user = LaunchUser(posted["id"], given) if posted else None
    return to_launch(data, user, keep_user="user" not in data, seen_at=data.get("last_seen"))


class ImportView(Endpoint):
    permission_classes = [ServerKey]
    parser_classes = [ImportParser]

    @extend_schema(operation_id="import_devices", request=ImportSerializer, responses=ImportResult)
    def post(self, request: Request) -> Response:
        """Take over devices from another system: up to 1,000, each with its own result."""
        serializer = ImportSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response({"results": import_rows(caller_of(request).app, serializer.validated_data["devices"])})
