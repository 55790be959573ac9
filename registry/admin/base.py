"""What all pages of the admin share: Unfold's look, apps that not everybody sees, rows that only workers write."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import ActionLocation
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.text import capfirst
from unfold import decorators
from unfold.widgets import UnfoldAdminPasswordWidget

from registry.models import MobileApp
from registry.services.access import Scope, scope_of
from registry.services.errors import InvalidInput

if TYPE_CHECKING:  # Unfold ships no types; its ModelAdmin is Django's, dressed
    from django.contrib.admin import ModelAdmin, StackedInline
else:
    from unfold.admin import ModelAdmin, StackedInline

__all__ = [
    "AppFilter",
    "ConsoleAdmin",
    "ModelAdmin",
    "ReadOnlyAdmin",
    "StackedInline",
    "confirm",
    "page_action",
    "put_on",
    "secret_field",
    "token_end",
]


class ConsoleAdmin(ModelAdmin[Any]):
    """A table in the console.

    `app_path` leads from a row to its app ("pk" from an app itself), and limits all that one sees and can choose from
    to the apps that one may see. Rows without a path are for those who see every app. Lists do not count the table.
    `list_title` is what the menu calls the list, where that is not the table's name. `empty_text` says how rows come
    into a list that has none.
    """

    app_path: str | None = None
    list_title = ""
    empty_text = ""
    show_full_result_count = False
    list_per_page = 50
    list_filter_sheet = False
    warn_unsaved_form = True

    def limit(self, rows: QuerySet[Any], scope: Scope) -> QuerySet[Any]:
        if self.app_path is None:
            return rows if scope.every else rows.none()
        return scope.limit(rows, self.app_path)

    def called(self) -> str:
        """What its list is called: as in the menu."""
        return self.list_title or capfirst(str(self.opts.verbose_name_plural))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Called what it lists, not "Select device to view"."""
        return super().changelist_view(request, {"title": self.called(), **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self.limit(super().get_queryset(request), scope_of(request.user))

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> QuerySet[Any] | None:
        """What a field may be set to: what its own page would show to this person."""
        related = self.admin_site._registry.get(db_field.remote_field.model)  # noqa: SLF001 it has no public name
        return related.get_queryset(request) if isinstance(related, ConsoleAdmin) else None

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the links that add or change a related row in a frame: our policy lets nobody frame a page."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    def get_action_choices(
        self,
        request: HttpRequest,
        default_choices: Any = None,
        action_location: ActionLocation = ActionLocation.CHANGE_LIST,
    ) -> list[tuple[str, str]]:
        """Django's own: Unfold's does not know of Django 6.1's second place for actions, the page of one row."""
        default_choices = default_choices or [("", "Select action")]
        return admin.ModelAdmin.get_action_choices(self, request, default_choices, action_location)


class ReadOnlyAdmin(ConsoleAdmin):
    """Rows that only services and workers write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Without the way to Django's own history, where nothing of these is ever written."""
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "show_history": False})


class AppFilter(admin.RelatedFieldListFilter):
    """By app: those that one sees."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        apps = scope_of(request.user).limit(MobileApp.objects.filter(replaced_by=None), "pk")
        return [*apps.order_by("slug").values_list("pk", "slug")]


def confirm(page: ConsoleAdmin, request: HttpRequest, title: str, context: dict[str, Any]) -> HttpResponse:
    """Ask before a list's action is done: a button posts the same again with `confirmed`. The context says to `what`,
    and the `meaning`."""
    again = ("action", "select_across", "index", "_selected_action")
    shown = {
        **admin.site.each_context(request),
        **context,
        "title": title,
        "opts": page.opts,
        "again": [(name, value) for name in again for value in request.POST.getlist(name)],
    }
    return TemplateResponse(request, "registry/console/confirm.html", shown)


def page_action[F: Callable[..., Any]](*, description: str, permissions: Sequence[str], icon: str) -> Callable[[F], F]:
    """A button on a row's page, for those of whom has_<permission>_permission is true. Answers at a path of its own."""
    decorate: Callable[[F], F] = decorators.action(description=description, permissions=permissions, icon=icon)
    return decorate


def secret_field(label: str, help_text: str) -> forms.CharField:
    """For a secret that is written and never shown; where it may stay empty, the stored one stays."""
    widget = UnfoldAdminPasswordWidget({"autocomplete": "new-password"})
    return forms.CharField(max_length=4000, required=False, label=label, help_text=help_text, widget=widget)


def put_on(form: forms.BaseForm, error: InvalidInput, **named: str) -> None:
    """Have the form say what a service found wrong: at the field of that name, or of the one that it is `named` here,
    above them all where the form has none."""
    field = named.get(error.field, error.field)
    form.add_error(field if field in form.fields else None, error.message)


@admin.display(description="token")
def token_end(row: Any) -> str:
    """The end of a token: enough to recognise it, not to use it."""
    return format_html('<span class="token-end">…{}</span>', row.token[-6:])
