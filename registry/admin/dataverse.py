"""Dataverse environments, and how far their changes are read."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from registry import models
from registry.admin.base import ConsoleAdmin, ReadOnlyAdmin
from registry.services.access import Scope, scope_of


@admin.register(models.DataverseEnvironment)
class DataverseEnvironmentAdmin(ConsoleAdmin):
    list_display = ("name", "url", "tenant", "change_tracking")
    exclude = ("client_secret",)
    readonly_fields = ("url", "authority")  # the secret travels there: checked when made

    def limit(self, rows: QuerySet[Any], scope: Scope) -> QuerySet[Any]:
        return rows.filter(pk__in=scope.environments())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only who sees all of its apps: they all change with it."""
        covered = obj is None or scope_of(request.user).covers(obj)
        return covered and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        covered = obj is None or scope_of(request.user).covers(obj)
        return covered and super().has_delete_permission(request, obj)


@admin.register(models.ChangeFeed)
class ChangeFeedAdmin(ReadOnlyAdmin):
    list_display = ("environment", "table", "started_at", "completed_at", "checked_at", "due_at", "detail")
    list_select_related = ("environment",)

    def limit(self, rows: QuerySet[Any], scope: Scope) -> QuerySet[Any]:
        return rows.filter(environment__in=scope.environments())
