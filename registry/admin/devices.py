"""Phones, their users, and which Dataverse records these are."""

from django.contrib import admin

from registry import models
from registry.admin.base import ReadOnlyAdmin, token_end
from registry.admin.tokens import ShowsWholeToken


@admin.register(models.MobileUser)
class MobileUserAdmin(ReadOnlyAdmin):
    app_path = "app"
    list_display = ("external_id", "app", "email", "phone", "push_consent", "tracking_consent")
    search_fields = ("external_id__exact", "email__exact")


@admin.register(models.DataverseMapping)
class DataverseMappingAdmin(ReadOnlyAdmin):
    app_path = "user__app"
    list_display = ("user", "state", "table", "dataverse_id", "matched_by", "checked_at", "due_at")
    list_select_related = ("user",)
    list_filter = ("state",)


@admin.register(models.Device)
class DeviceAdmin(ShowsWholeToken, ReadOnlyAdmin):
    app_path = "app"
    list_display = ("installation_id", "app", "platform", token_end, "user", "last_seen", "shared_since", "retired_at")
    list_select_related = ("app", "user")
    list_filter = ("platform", ("shared_since", admin.EmptyFieldListFilter))
    search_fields = ("installation_id__exact",)
    exclude = ("token",)
