"""Who changed what, and who looked at a whole token: written to django-auditlog's table, which nobody edits.

Saved rows of the tables named here are recorded with their old and new values by themselves, whoever saves them: the
admin or a command. What is written by a query is recorded where it is done, with `record`.
"""

from typing import Any

from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.contrib.auth.models import Group, User
from django.db.models import Model

from registry import models

# Never a value: that it was changed says enough. Columns that only workers write are nobody's change.
WATCHED: dict[type[Model], dict[str, Any]] = {
    models.MobileApp: {
        "mask_fields": ["api_token", "next_api_token", "former_api_token"],
        "exclude_fields": ["batch_cleanup", "connection_no", "marked_to", "over_at"],
    },
    models.DataverseEnvironment: {"mask_fields": ["client_secret"], "exclude_fields": ["losses_accepted_until"]},
    models.TokenIssuer: {
        "mask_fields": ["secret"],
        "exclude_fields": [
            "keys",
            "keys_fetched_at",
            "keys_error",
            "keys_failing_since",
            "keys_asked_at",
            "keys_due_at",
        ],
    },
    models.ApiKey: {"exclude_fields": ["key_hash", "last_used_at"]},
    models.AppScope: {"m2m_fields": {"apps"}},
    User: {"mask_fields": ["password"], "exclude_fields": ["last_login"], "m2m_fields": {"groups", "user_permissions"}},
    Group: {"m2m_fields": {"permissions"}},
}


def watch() -> None:
    """Called once, when the apps are ready."""
    for model, options in WATCHED.items():
        auditlog.register(model, mask_callable="registry.services.audit.hidden", **options)


def hidden(value: Any) -> str:
    return "***"


def record(row: Model, what: str, user: Any = None) -> None:
    """Note that something was done to `row`, in words that hold nothing secret or personal."""
    _write(row, LogEntry.Action.UPDATE, what, user)


def record_look(row: Model, what: str, user: Any = None) -> None:
    """Note that somebody was shown something that is hidden otherwise."""
    _write(row, LogEntry.Action.ACCESS, what, user)


def _write(row: Model, action: int, what: str, user: Any) -> None:
    # Without a copy of the row's values: only of rows in WATCHED, masked, would they be kept.
    fields: dict[str, Any] = {"action": action, "additional_data": {"what": what}, "serialized_data": None}
    if user is not None:
        fields["actor"] = user
    LogEntry.objects.log_create(row, force_log=True, changes={}, **fields)
