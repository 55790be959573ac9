"""The tables in Django's admin. What workers write is shown, not edited."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from registry import models


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that only services and workers write. Lists do not count the whole table."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def token_end(row: Any) -> str:
    """The end of a token: enough to recognise it, not to use it."""
    return f"…{row.token[-6:]}"


token_end.short_description = "token"  # type: ignore[attr-defined]


@admin.register(models.MobileApp)
class MobileAppAdmin(admin.ModelAdmin[models.MobileApp]):
    list_display = ("slug", "name", "endpoint", "dataverse", "identity")
    exclude = ("api_token", "batch_cleanup")
    # What was registered under the old ones could not be cleaned up any more.
    readonly_fields = ("org_id", "mobile_app_id", "endpoint")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # manage.py create_app asks for the ApiToken and checks the host


@admin.register(models.DataverseEnvironment)
class DataverseEnvironmentAdmin(admin.ModelAdmin[models.DataverseEnvironment]):
    list_display = ("name", "url", "tenant", "change_tracking")
    exclude = ("client_secret",)
    readonly_fields = ("url", "authority")  # the secret travels there: checked when made

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(models.ChangeFeed)
class ChangeFeedAdmin(ReadOnlyAdmin):
    list_display = ("environment", "table", "started_at", "completed_at", "checked_at", "due_at", "detail")
    list_select_related = ("environment",)


@admin.register(models.ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    list_display = ("hint", "app", "kind", "created_at", "revoked_at")


@admin.register(models.Pause)
class PauseAdmin(ReadOnlyAdmin):
    list_display = ("app", "platform", "environment", "reason", "detail", "until")


@admin.register(models.MobileUser)
class MobileUserAdmin(ReadOnlyAdmin):
    list_display = ("external_id", "app", "email", "phone", "push_consent", "tracking_consent")
    search_fields = ("external_id__exact", "email__exact")


@admin.register(models.DataverseMapping)
class DataverseMappingAdmin(ReadOnlyAdmin):
    list_display = ("user", "state", "table", "dataverse_id", "matched_by", "checked_at", "due_at")
    list_select_related = ("user",)
    list_filter = ("state",)


@admin.register(models.Device)
class DeviceAdmin(ReadOnlyAdmin):
    list_display = ("installation_id", "app", "platform", token_end, "user", "last_seen", "shared_since", "retired_at")
    list_select_related = ("app", "user")
    list_filter = ("platform", ("shared_since", admin.EmptyFieldListFilter))
    search_fields = ("installation_id__exact",)
    exclude = ("token",)


@admin.register(models.Registration)
class RegistrationAdmin(ReadOnlyAdmin):
    list_display = ("dataverse_id", "app", token_end, "desired", "state", "reason", "due_at")
    list_select_related = ("app",)
    list_filter = ("state", "app")
    exclude = ("token",)


@admin.register(models.InteractionEvent)
class InteractionEventAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "app", "status", "tracking_id", "state", "reason", "relayed_at")
    list_select_related = ("app",)
    list_filter = ("state",)
    exclude = ("token",)
