"""Dataverse environments, and how far their changes are read."""

from django.contrib import admin
from django.http import HttpRequest

from registry import models
from registry.admin.base import ConsoleAdmin, ReadOnlyAdmin


@admin.register(models.DataverseEnvironment)
class DataverseEnvironmentAdmin(ConsoleAdmin):
    list_display = ("name", "url", "tenant", "change_tracking")
    exclude = ("client_secret",)
    readonly_fields = ("url", "authority")  # the secret travels there: checked when made

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(models.ChangeFeed)
class ChangeFeedAdmin(ReadOnlyAdmin):
    list_display = ("environment", "table", "started_at", "completed_at", "checked_at", "due_at", "detail")
    list_select_related = ("environment",)
