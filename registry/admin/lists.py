"""Lists of big tables: pages by key, newest first, with nothing counted and nothing sorted."""

from functools import cache
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import checkbox

from registry.admin.base import ReadOnlyAdmin
from registry.models import secret_columns
from registry.services import lists
from registry.services.access import scope_of, visible_apps

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.views import ChangeList

__all__ = ["AppChoice", "KeysetAdmin", "ListingAdmin", "ShowChoice", "key"]

OLDER, NEWER = "older", "newer"


def key(text: str | None) -> int | None:
    """An id from an address; None where it is none."""
    return int(text) if text and text.isdecimal() and len(text) < 19 else None


@cache
def _checkbox() -> str:
    """The markup of a row's checkbox, with its value left out."""
    drawn: str = checkbox.render(ACTION_CHECKBOX_NAME, "0")
    return drawn.replace("{", "{{").replace("}", "}}").replace('value="0"', 'value="{}"')


class _Page(Paginator):  # type: ignore[type-arg]  # nothing of its own is asked
    template_name = "registry/console/keyset.html"


class KeysetChangeList(ChangeList):
    """`older` and `newer` in the address are ids that the page lies beyond."""

    model_admin: "KeysetAdmin"
    older_than: int | None = None
    newer_than: int | None = None
    next_older: int | None = None
    next_newer: int | None = None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        for name in (OLDER, NEWER):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        self.older_than, self.newer_than = key(request.GET.get(OLDER)), key(request.GET.get(NEWER))
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        """Ask for one more than is shown: where it is there, so is another page."""
        most, upwards = self.list_per_page, self.newer_than is not None
        beyond = self.newer_than if upwards else self.older_than
        ids = self.model_admin.page(request, self, most + 1, beyond, upwards=upwards)
        shown, more = ids[:most], len(ids) > most
        if upwards:
            shown.reverse()
        found = self.apply_select_related(self.queryset.filter(pk__in=shown).order_by())
        related = self.model_admin.list_select_related
        if isinstance(related, tuple) and "app" in related:
            found = found.defer(*secret_columns("app__"))  # fifty times three to be decrypted, and nobody reads them
        rows = {row.pk: row for row in found}
        self.result_list = [rows[pk] for pk in shown if pk in rows]
        older_there = more if not upwards else True
        newer_there = more if upwards else beyond is not None
        self.next_older = shown[-1] if shown and older_there else None
        self.next_newer = shown[0] if shown and newer_there else None
        # What Django's own templates ask for. Nobody counts: where there are other pages, it is more than one page.
        self.multi_page = self.next_older is not None or self.next_newer is not None
        self.result_count = len(self.result_list) + self.multi_page
        self.full_result_count, self.show_full_result_count = self.result_count, False  # the same: no number is shown
        self.show_admin_actions, self.can_show_all = True, False
        self.paginator = _Page(self.result_list, most)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return ["-pk"]

    def older_url(self) -> str:
        return str(self.get_query_string({OLDER: self.next_older}))

    def newer_url(self) -> str:
        return str(self.get_query_string({NEWER: self.next_newer}))


class KeysetAdmin(ReadOnlyAdmin):
    """A list in the order of the ids. No column sorts: none but the id has an index for all that one may choose."""

    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER  # each is a count

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def get_search_fields(self, request: HttpRequest) -> list[str] | tuple[str, ...]:
        """None for autocompletion, which counts what it finds: no form offers rows of a big table, and no address."""
        match = request.resolver_match
        return () if match and match.url_name == "autocomplete" else super().get_search_fields(request)

    @admin.display(description=ReadOnlyAdmin.action_checkbox.short_description)  # type: ignore[attr-defined]
    def action_checkbox(self, obj: Any) -> SafeString:
        """Unfold draws each from a template, which takes a sixth of the page's time: one is enough."""
        return format_html(_checkbox(), int(obj.pk))

    def page(
        self, request: HttpRequest, changes: KeysetChangeList, most: int, beyond: int | None, *, upwards: bool
    ) -> list[int]:
        """The ids of the page, in the order in which they were asked for."""
        rows = changes.queryset.order_by("pk" if upwards else "-pk")
        if beyond is not None:
            rows = rows.filter(Q(pk__gt=beyond) if upwards else Q(pk__lt=beyond))
        return list(rows.values_list("pk", flat=True)[:most])


class AppChoice(SimpleListFilter):
    """One app of those that one sees; not there where that is one."""

    title, parameter_name = "app", "app"
    path = "app"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        self.path = model_admin.app_path
        apps = visible_apps(request.user)
        return [(str(app.pk), app.slug) for app in apps] if len(apps) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        app = key(self.value())
        return queryset if app is None else queryset.filter(**{self.path: app})


class ShowChoice(SimpleListFilter):
    """What the table's listing can be narrowed to."""

    title, parameter_name = "what", "show"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(name, show.label) for name, show in lists.LISTINGS[model_admin.model].shows.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        show = lists.LISTINGS[queryset.model].shows.get(self.value() or "")
        return queryset.filter(show.where) if show else queryset


class ListingAdmin(KeysetAdmin):
    """A table of registry.services.lists."""

    search_fields = ("pk",)  # get_search_results below asks something else; without any there is no box
    search_help_text = "E-mail, phone, app user id, Dataverse id, installation id, token or its end"

    def get_list_filter(self, request: HttpRequest) -> Any:
        return (AppChoice, ShowChoice) if lists.LISTINGS[self.model].shows else (AppChoice,)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """What the text names, each by an index; a part of a word finds nothing."""
        if not search_term.strip():
            return queryset, False
        return queryset.filter(pk__in=lists.search(self.model, search_term, visible_apps(request.user))), False

    def choice(self, request: HttpRequest) -> lists.Choice:
        """What the address says is listed."""
        text = request.GET.get("q", "")
        ids = lists.search(self.model, text, visible_apps(request.user)) if text.strip() else None
        show = request.GET.get(ShowChoice.parameter_name, "")
        known = show if show in lists.LISTINGS[self.model].shows else ""
        return lists.chosen(scope_of(request.user), key(request.GET.get(AppChoice.parameter_name)), known, ids)

    def page(
        self, request: HttpRequest, changes: KeysetChangeList, most: int, beyond: int | None, *, upwards: bool
    ) -> list[int]:
        return self.choice(request).page(self.model, most, beyond, upwards=upwards)
