"""The same tables as Django's admin lists them where nobody has thought of millions: what `bench.admin` compares with.

Dressed by Unfold as ours are, so that both draw the same page. Columns and searches are ours before this was measured.
"""

from auditlog.models import LogEntry
from django.urls import path
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite

from registry.admin.base import token_end
from registry.models import DataverseMapping, Device, InteractionEvent, MobileUser, Registration
from tokenhub.urls import urlpatterns as ours

site = UnfoldAdminSite(name="plain")


class PlainDeviceAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("installation_id", "app", "platform", token_end, "user", "last_seen", "shared_since", "retired_at")
    list_select_related = ("app", "user")
    list_filter = ("platform", "app", "retired_at")
    search_fields = ("installation_id", "user__email")


class PlainUserAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("external_id", "app", "email", "phone", "push_consent", "tracking_consent")
    list_select_related = ("app",)
    list_filter = ("app", "push_consent")
    search_fields = ("external_id", "email")


class PlainMappingAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("user", "state", "table", "dataverse_id", "matched_by", "checked_at", "due_at")
    list_select_related = ("user",)
    list_filter = ("state",)
    search_fields = ("user__external_id", "user__email")


class PlainRegistrationAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("dataverse_id", "app", token_end, "desired", "state", "reason", "due_at")
    list_select_related = ("app",)
    list_filter = ("state", "app")
    search_fields = ("dataverse_id",)


class PlainEventAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("received_at", "app", "status", "tracking_id", "state", "reason", "relayed_at")
    list_select_related = ("app",)
    list_filter = ("state", "app")
    search_fields = ("token",)


class PlainAuditAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("timestamp", "actor", "action", "content_type", "object_repr", "changes", "remote_addr")
    list_select_related = ("actor", "content_type")
    list_filter = ("action",)
    search_fields = ("object_repr", "object_pk")


site.register(Device, PlainDeviceAdmin)
site.register(MobileUser, PlainUserAdmin)
site.register(DataverseMapping, PlainMappingAdmin)
site.register(Registration, PlainRegistrationAdmin)
site.register(InteractionEvent, PlainEventAdmin)
site.register(LogEntry, PlainAuditAdmin)

urlpatterns = [path("plain/", site.urls), *ours]
handler400 = "tokenhub.errors.bad_request"
handler404 = "tokenhub.errors.not_found"
handler500 = "tokenhub.errors.server_error"
