"""Phones, their users, and which Dataverse records these are."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from registry import models
from registry.admin.base import page_action, token_end
from registry.admin.bulk import BulkAdmin
from registry.admin.explain import LeadsToExplain
from registry.admin.tokens import ShowsWholeToken
from registry.services.bulk_jobs import IMPORTS


@admin.register(models.MobileUser)
class MobileUserAdmin(LeadsToExplain, BulkAdmin):
    list_title = "Users"
    empty_text = "A user appears with the first launch that names one, or when your server makes one (PUT /users)."
    app_path = "app"
    list_display = ("external_id", "app", "email", "phone", "push_consent", "tracking_consent")
    list_select_related = ("app",)


@admin.register(models.DataverseMapping)
class DataverseMappingAdmin(LeadsToExplain, BulkAdmin):
    """Who has no record yet, or several, is on the page of unresolved users."""

    empty_text = "Each user is looked up in Dataverse as soon as they are known."

    app_path = "user__app"
    list_display = ("user", "state", "table", "dataverse_id", "matched_by", "checked_at", "due_at")
    list_select_related = ("user",)


@admin.register(models.Device)
class DeviceAdmin(LeadsToExplain, ShowsWholeToken, BulkAdmin):
    empty_text = "A device appears with its phone's first launch, for which an app needs a key, or with Import."
    app_path = "app"
    actions_detail = ("explain", "whole_token")
    list_display = ("installation_id", "app", "platform", token_end, "user", "last_seen", "shared_since", "retired_at")
    list_select_related = ("app", "user")
    exclude = ("token",)
    actions_list = ("import_devices",)

    def has_import_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(IMPORTS)

    @page_action(description="Import", permissions=["import"], icon="upload")
    def import_devices(self, request: HttpRequest) -> HttpResponse:
        return redirect("import_devices")
