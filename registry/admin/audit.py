"""The audit log: searched, never edited, not by superusers either."""

import json
import re
from typing import Any

import auditlog.admin  # noqa: F401  registers the page that ours stands in for
from auditlog.models import LogEntry
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest

from registry.admin.lists import KeysetAdmin
from registry.services.access import scope_of

admin.site.unregister(LogEntry)
_RELATED = re.compile(r"\w+\.\w+\.None")  # of a new row auditlog also writes down the tables that refer to it


class Actor(admin.RelatedFieldListFilter):
    """By who did it: those who may sign in here at all."""

    def field_choices(self, field: object, request: HttpRequest, model_admin: object) -> list[Any]:
        return [*User.objects.filter(is_staff=True).order_by("username").values_list("pk", "username")]


@admin.register(LogEntry)
class AuditAdmin(KeysetAdmin):
    """One line for each change that a person made, and each look at what is hidden."""

    list_title = "Audit log"
    list_display = ("timestamp", "who", "action", "what", "details", "remote_addr")
    list_display_links = ("timestamp",)
    list_select_related = ("actor", "content_type")
    list_filter = ("action", ("actor", Actor))
    date_hierarchy = None  # it would ask for the oldest and the newest of all
    search_fields = ("object_repr__startswith", "object_pk__exact")
    search_help_text = "How a name begins (app, account, installation id), or a row's id"
    fields = ("timestamp", "who", "remote_addr", "action", "what", "object_pk", "details")
    readonly_fields = fields

    def has_view_permission(self, request: HttpRequest, obj: LogEntry | None = None) -> bool:
        """For who sees every app: it names the others, and who works on them."""
        return scope_of(request.user).every and super().has_view_permission(request, obj)

    @admin.display(description="who")
    def who(self, entry: LogEntry) -> str:
        return entry.actor.get_username() if entry.actor else entry.actor_email or "command or worker"

    @admin.display(description="what")
    def what(self, entry: LogEntry) -> str:
        return f"{entry.content_type.name} {entry.object_repr}"

    @admin.display(description="details")
    def details(self, entry: LogEntry) -> str:
        told = (entry.additional_data or {}).get("what")
        made = entry.action == LogEntry.Action.CREATE
        changes = [line for field, change in (entry.changes or {}).items() if (line := _line(field, change, made=made))]
        return "; ".join([told, *changes] if told else changes) or "-"


def _line(field: str, change: object, *, made: bool) -> str:
    """One changed field as a person reads it: auditlog writes pairs of old and new, and dicts for many-to-many.

    Of a row that was made it is what the field was given; "" where that is nothing.
    """
    if isinstance(change, dict):
        return f"{field}: {change.get('operation')} {', '.join(map(str, change.get('objects', [])))}"
    if made and isinstance(change, list) and len(change) == 2:
        return "" if change[1] in ("None", "") or _RELATED.fullmatch(str(change[1])) else f"{field}: {change[1]}"
    if isinstance(change, list) and len(change) == 2:
        return f"{field}: {change[0]} → {change[1]}"
    return f"{field}: {json.dumps(change)}"
