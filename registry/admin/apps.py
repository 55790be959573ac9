"""Apps, and what their calls to Microsoft rest for."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html

from registry import models
from registry.admin.base import ConsoleAdmin, ReadOnlyAdmin, page_action
from registry.admin.ordered import OrderedChoices
from registry.services.access import Scope, scope_of
from registry.services.apps import check_region, identity_warnings
from registry.services.connections import left_under
from registry.services.errors import InvalidInput
from registry.services.pausing import next_probe, of_scope
from registry.states import DataverseTable, MatchKey


class AppForm(forms.ModelForm[models.MobileApp]):
    """What a new app is checked for, a changed one is, too."""

    match = OrderedChoices(DataverseTable.choices, label="Look for users among", help_text="Tables, in this order.")
    match_by = OrderedChoices(MatchKey.choices, label="By", help_text="In this order.")

    def clean_default_region(self) -> str:
        region = str(self.cleaned_data["default_region"])
        try:
            check_region(region)
        except InvalidInput as error:
            raise forms.ValidationError(error.message) from None
        return region


@admin.register(models.MobileApp)
class MobileAppAdmin(ConsoleAdmin):
    list_title = "Apps"
    empty_text = "Connect an app, above: the Developer information tab of CI-J has what is asked for."
    app_path = "pk"
    form = AppForm
    search_fields = ("slug__startswith", "name__istartswith")
    ordering = ("slug",)
    list_display = ("slug", "name", "endpoint", "dataverse", "identity", "runs")
    list_select_related = ("dataverse",)
    actions_list = ("connect",)
    actions_detail = ("run",)
    exclude = ("api_token", "batch_cleanup")
    # What was registered under the old ones could not be cleaned up any more.
    readonly_fields = ("org_id", "mobile_app_id", "endpoint")  # manage.py replace_connection

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(replaced_by=None)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # sync.pages.connect_app asks for the ApiToken and tries it

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its devices stay registered at CI-J until they are cleaned up: the app's page says how it ends

    def has_connect_permission(self, request: HttpRequest) -> bool:
        return scope_of(request.user).every and request.user.has_perm("registry.add_mobileapp")

    @page_action(description="Connect an app", permissions=["connect"], icon="add_link")
    def connect(self, request: HttpRequest) -> HttpResponse:
        return redirect("connect_app")

    @page_action(description="Connection, pauses and keys", permissions=["view"], icon="tune")
    def run(self, request: HttpRequest, object_id: str) -> HttpResponse:
        app = self.get_object(request, object_id)
        if app is None:
            raise PermissionDenied
        return redirect("app", app.slug)

    @admin.display(description="run it")
    def runs(self, app: models.MobileApp) -> str:
        return format_html('<a href="{}">Connection, pauses, keys</a>', reverse("app", args=[app.slug]))

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


@admin.register(models.Pause)
class PauseAdmin(ReadOnlyAdmin):
    empty_text = "Nothing rests: what is due is sent."
    list_display = ("app", "platform", "environment", "reason", "detail", "created_at", "ends")
    exclude = ("until",)
    readonly_fields = ("ends",)
    list_select_related = ("app", "environment")

    @admin.display(description="next probe")
    def ends(self, pause: models.Pause) -> str:
        """A probe that succeeds ends it; one that a person made none ends."""
        at = next_probe(pause)
        return f"{at:%Y-%m-%d %H:%M:%S}" if at else "none: until a person resumes it"

    def limit(self, rows: QuerySet[Any], scope: Scope) -> QuerySet[Any]:
        return of_scope(rows, scope)
