"""Apps, and what their calls to Microsoft rest for."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from registry import models
from registry.admin.base import ConsoleAdmin, ReadOnlyAdmin
from registry.services.access import Scope
from registry.services.apps import identity_warnings
from registry.services.connections import left_under


@admin.register(models.MobileApp)
class MobileAppAdmin(ConsoleAdmin):
    app_path = "pk"
    search_fields = ("slug__startswith", "name__istartswith")
    list_display = ("slug", "name", "endpoint", "dataverse", "identity")
    exclude = ("api_token", "batch_cleanup")
    # What was registered under the old ones could not be cleaned up any more.
    readonly_fields = ("org_id", "mobile_app_id", "endpoint")  # manage.py replace_connection

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(replaced_by=None)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # manage.py create_app asks for the ApiToken and checks the host

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        seen = set(self.get_queryset(request).values_list("slug", flat=True))
        for slug, text in identity_warnings().items():
            if slug in seen:
                messages.warning(request, f"App {slug}: {text}")
        return super().changelist_view(request, extra_context)


@admin.register(models.ReplacedConnection)
class ReplacedConnectionAdmin(ReadOnlyAdmin):
    """Made by manage.py replace_connection, given up with abandon_connection."""

    app_path = "pk"
    list_display = ("slug", "replaced_by", "endpoint", "replaced_at", "left", "over_at", "written_off")
    list_select_related = ("replaced_by",)
    fields = (
        *("slug", "replaced_by", "org_id", "mobile_app_id", "endpoint", "replaced_at"),
        *("left", "over_at", "written_off", "note"),
    )
    readonly_fields = fields

    @admin.display(description="still to be retired")
    def left(self, app: models.ReplacedConnection) -> str:
        return "{} registrations, {} events".format(*left_under(app))


@admin.register(models.TokenIssuer)
class TokenIssuerAdmin(ReadOnlyAdmin):
    """Set by manage.py set_token_issuer, which checks what it is given."""

    app_path = "app"
    list_display = ("app", "issuer", "audience", "jwks_url", "keys_fetched_at", "keys_error")
    list_select_related = ("app",)
    exclude = ("secret",)


@admin.register(models.Pause)
class PauseAdmin(ReadOnlyAdmin):
    list_display = ("app", "platform", "environment", "reason", "detail", "until")
    list_select_related = ("app", "environment")

    def limit(self, rows: QuerySet[Any], scope: Scope) -> QuerySet[Any]:
        seen = Q(app__in=scope.app_ids) | Q(environment__in=scope.environments())
        return rows if scope.every else rows.filter(seen)
