"""What all pages of the admin share: Unfold's look, rows that only workers write, tokens shown by their end."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import ActionLocation
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.http import HttpRequest

if TYPE_CHECKING:  # Unfold ships no types; its ModelAdmin is Django's, dressed
    from django.contrib.admin import ModelAdmin
else:
    from unfold.admin import ModelAdmin


class ConsoleAdmin(ModelAdmin[Any]):
    """A table in the console. Lists do not count the whole table."""

    show_full_result_count = False
    list_per_page = 50
    list_filter_sheet = False
    warn_unsaved_form = True

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


@admin.display(description="token")
def token_end(row: Any) -> str:
    """The end of a token: enough to recognise it, not to use it."""
    return f"…{row.token[-6:]}"
