"""Phones, their users, and which Dataverse records these are."""

from django.contrib import admin

from registry import models
from registry.admin.base import token_end
from registry.admin.lists import ListingAdmin
from registry.admin.tokens import ShowsWholeToken


@admin.register(models.MobileUser)
class MobileUserAdmin(ListingAdmin):
    app_path = "app"
    list_display = ("external_id", "app", "email", "phone", "push_consent", "tracking_consent")
    list_select_related = ("app",)


@admin.register(models.DataverseMapping)
class DataverseMappingAdmin(ListingAdmin):
    """Who has no record yet, or several, is on the page of unresolved users."""

    app_path = "user__app"
    list_display = ("user", "state", "table", "dataverse_id", "matched_by", "checked_at", "due_at")
    list_select_related = ("user",)


@admin.register(models.Device)
class DeviceAdmin(ShowsWholeToken, ListingAdmin):
    app_path = "app"
    list_display = ("installation_id", "app", "platform", token_end, "user", "last_seen", "shared_since", "retired_at")
    list_select_related = ("app", "user")
    exclude = ("token",)
