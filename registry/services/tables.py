"""Lists as CSV, row by row however many there are: a file of devices can be imported again."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.db.models import Model

from registry.models import BulkError, BulkJob, Device, MobileUser, Registration, secret_columns
from registry.services.cells import guarded
from registry.services.lists import Choice

EXPORTS = "registry.export_device"
BATCH = 2000

type Column = Callable[[Any], object]


def _own(*names: str) -> dict[str, Column]:
    return {name: attrgetter(name) for name in names}


def _of_user(name: str) -> Column:
    return lambda device: getattr(device.user, name) if device.user else ""


# What an import takes, and nothing else.
_DEVICE: dict[str, Column] = {
    "app": lambda row: row.app.slug,
    **_own("installation_id", "platform", "token", "app_version", "os_version", "model", "locale", "time_zone"),
    **_own("last_seen"),
    "user.id": _of_user("external_id"),
    "user.email": _of_user("email"),
    "user.phone": _of_user("phone"),
    "user.push_consent": _of_user("push_consent"),
    "user.tracking_consent": _of_user("tracking_consent"),
    **_own("sequence", "retired_at"),
}
_USER: dict[str, Column] = {
    "app": lambda row: row.app.slug,
    "user.id": lambda row: row.external_id,
    "user.email": lambda row: row.email,
    "user.phone": lambda row: row.phone,
    "user.push_consent": lambda row: row.push_consent,
    "user.tracking_consent": lambda row: row.tracking_consent,
    "created_at": lambda row: row.created_at,
    "mapping": lambda row: row.mapping.state if hasattr(row, "mapping") else "",
    "table": lambda row: row.mapping.table if hasattr(row, "mapping") else "",
    "dataverse_id": lambda row: row.mapping.dataverse_id if hasattr(row, "mapping") else "",
    "matched_by": lambda row: row.mapping.matched_by if hasattr(row, "mapping") else "",
    "decided_by": lambda row: row.mapping.decided_by if hasattr(row, "mapping") else "",
}
_REGISTRATION: dict[str, Column] = {
    "app": lambda row: row.app.slug,
    "installation_id": lambda row: row.device.installation_id if row.device else "",
    **_own("table", "dataverse_id", "platform", "token", "desired", "state", "reason", "detail", "attempts"),
    **_own("sent_at", "registered_at", "cleaned_at"),
}
TABLES: Mapping[type[Model], tuple[dict[str, Column], tuple[str, ...]]] = {
    Device: (_DEVICE, ("app", "user")),
    MobileUser: (_USER, ("app", "mapping")),
    Registration: (_REGISTRATION, ("app", "device")),
}


def has_tokens(model: type[Model]) -> bool:
    """Whether the file tells push tokens."""
    return "token" in TABLES[model][0]


def export(model: type[Model], choice: Choice, *, whole_tokens: bool) -> Iterator[str]:
    """The lines of a CSV file: a heading, then the rows, oldest first. Tokens by their end, unless whole."""
    columns, related = TABLES[model]
    yield _line(columns)
    position: int | None = None
    while ids := choice.page(model, BATCH, position, upwards=True):
        rows = model._default_manager.filter(pk__in=ids).select_related(*related).order_by("pk")  # noqa: SLF001 documented
        yield "".join(_line(_cells(row, columns, whole_tokens=whole_tokens)) for row in rows.defer(*_SECRETS[model]))
        position = ids[-1]


_SECRETS: Mapping[type[Model], tuple[str, ...]] = {
    Device: tuple(secret_columns("app__")),
    MobileUser: tuple(secret_columns("app__")),
    Registration: tuple(secret_columns("app__")),
}


def errors(job: BulkJob) -> Iterator[str]:
    """The errors of an import, a JSON object a line."""
    for error in BulkError.objects.filter(job=job).order_by("line").iterator(BATCH):
        yield json.dumps({"line": error.line, "errors": error.detail}) + "\n"


def _cells(row: Any, columns: Mapping[str, Column], *, whole_tokens: bool) -> Iterator[str]:
    for name, column in columns.items():
        text = _text(column(row))
        yield f"…{text[-6:]}" if name == "token" and not whole_tokens else text


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else guarded(str(value))


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
