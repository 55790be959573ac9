"""Bulk actions: asked for in a list, confirmed, done by workers, and looked at while they are."""

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import Action, ActionLocation
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst
from django.views.decorators.http import require_http_methods
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget

from registry.admin.base import confirm
from registry.admin.lists import AppChoice, KeysetAdmin, ListingAdmin, ShowChoice, key
from registry.models import BulkError, BulkJob, MobileApp
from registry.services import bulk_jobs, lists, tables
from registry.services.access import Scope, scope_of, visible_apps
from registry.services.audit import record_look
from registry.services.errors import InvalidInput
from registry.services.import_files import COLUMNS, REQUIRED
from registry.states import BulkKind

ERRORS_SHOWN = 50


class BulkAdmin(ListingAdmin):
    """A list whose rows are changed many at a time: those that are ticked, or all that the list shows."""

    def get_actions(
        self, request: HttpRequest, action_location: ActionLocation = ActionLocation.CHANGE_LIST
    ) -> dict[str, Action | None]:
        actions = super().get_actions(request, action_location)
        if action_location is not ActionLocation.CHANGE_LIST:
            return actions
        for kind, spec in bulk_jobs.KINDS.items():
            if self.model in spec.models and request.user.has_perm(spec.permission):
                actions[kind.value] = _action(_asked(kind), kind.value, spec.title)
        if self.model in tables.TABLES and request.user.has_perm(tables.EXPORTS):
            actions["export"] = _action(_export, "export", "Export as CSV")
        return actions

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {**(extra_context or {}), "selection_note_all": "All are selected"})

    def chosen(self, request: HttpRequest) -> tuple[lists.Choice, str]:
        """The rows that an action is about, and how to say which."""
        name = str(self.opts.verbose_name_plural)
        if request.POST.get("select_across") == "1":
            narrowed = [_label(request, self.model, ShowChoice), _label(request, self.model, AppChoice)]
            narrowed.append("as searched for" if request.GET.get("q") else "")
            return self.choice(request), ": ".join([f"all {name}", ", ".join(filter(None, narrowed))]).rstrip(": ")
        ids = [pk for pk in map(key, request.POST.getlist("_selected_action")) if pk is not None]
        return lists.chosen(
            scope_of(request.user), ids=ids
        ), f"{len(ids)} {name if len(ids) != 1 else self.opts.verbose_name}"


def _label(request: HttpRequest, model: Any, which: type[AppChoice] | type[ShowChoice]) -> str:
    value = request.GET.get(which.parameter_name, "")
    if which is ShowChoice:
        show = lists.LISTINGS[model].shows.get(value)
        return show.label.lower() if show else ""
    return next((app.slug for app in visible_apps(request.user) if str(app.pk) == value), "")


def _action(act: Callable[..., Any], name: str, title: str) -> Action:
    return Action(act, name, title, title, [ActionLocation.CHANGE_LIST])


def _asked(kind: BulkKind) -> Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse]:
    def act(page: BulkAdmin, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse:
        choice, what = page.chosen(request)
        if request.POST.get("confirmed"):
            job = bulk_jobs.start(kind, page.model, choice, what, request.user)
            return redirect(_page_of(job))
        spec = bulk_jobs.KINDS[kind]
        meaning = f"{spec.meaning} Workers do it; the next page shows how far they are, and stops it."
        return confirm(page, request, spec.title, {"what": what, "meaning": meaning})

    return act


def _export(page: BulkAdmin, request: HttpRequest, rows: QuerySet[Any]) -> StreamingHttpResponse:
    choice, what = page.chosen(request)
    whole = request.user.has_perm("registry.see_whole_token")
    account: Any = request.user
    shown = " with whole tokens" if whole and tables.has_tokens(page.model) else ""
    record_look(account, f"exported {what}{shown}"[:300], account)
    lines = tables.export(page.model, choice, whole_tokens=whole)
    answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{page.opts.model_name}s.csv"'
    answer["Cache-Control"] = "no-store"
    return answer


def _page_of(job: BulkJob) -> str:
    return reverse("admin:registry_bulkjob_change", args=[job.pk])


@admin.register(BulkJob)
class BulkJobAdmin(KeysetAdmin):
    """What was asked for: one's own, as far as one sees its apps still, and everybody's for who sees every app."""

    empty_text = "They begin in a list: tick its rows, and pick an action. An import of devices is one, too."
    list_display = ("kind", "what", "state", "done", "changed", "failed", "by", "created_at", "finished_at")

    def limit(self, rows: QuerySet[Any], scope: Scope) -> QuerySet[Any]:
        return rows if scope.every else rows.none()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        scope = scope_of(request.user)
        if scope.every:
            return super().get_queryset(request)
        mine = BulkJob.objects.filter(by=request.user.get_username()) if scope.app_ids else BulkJob.objects.none()
        return mine.filter(Q(app__in=scope.app_ids) | Q(app=None, apps__contained_by=sorted(scope.app_ids)))

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """How far it is; the page asks again by itself (`?part`) until it is over."""
        job = self.get_object(request, object_id)
        if job is None or not self.has_view_permission(request, job):
            raise PermissionDenied
        may_stop = request.user.has_perm(bulk_jobs.permission_of(job))
        if request.method == "POST":
            if not may_stop:
                raise PermissionDenied
            if not bulk_jobs.stop(job, request.user):
                messages.info(request, "It was over already.")
            return redirect(_page_of(job))
        if "errors" in request.GET:
            return _errors(job)
        context = {
            **admin.site.each_context(request),
            "title": capfirst(str(job)),
            "opts": self.opts,
            "job": job,
            "open": job.state in bulk_jobs.OPEN,
            "may_stop": may_stop,
            "part_done": _part_done(job),
            "summary": bulk_jobs.summary(job),
            "errors": BulkError.objects.filter(job=job).order_by("line")[:ERRORS_SHOWN],
        }
        part = "part" in request.GET
        return TemplateResponse(request, f"registry/console/{'job_part' if part else 'job'}.html", context)


def _part_done(job: BulkJob) -> int | None:
    """Per cent; None where nobody knows yet."""
    if job.state == "done":
        return 100
    if not job.total:
        return None
    return min(99, 100 * (job.position if job.kind == BulkKind.IMPORT else job.done) // job.total)


def _errors(job: BulkJob) -> StreamingHttpResponse:
    answer = StreamingHttpResponse(tables.errors(job), content_type="application/x-ndjson")
    answer["Content-Disposition"] = f'attachment; filename="errors-{job.pk}.jsonl"'
    return answer


class ImportForm(forms.Form):
    app = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    file = forms.FileField(
        widget=UnfoldAdminFileFieldWidget({"accept": ".csv,.jsonl"}),
        help_text=f"A .csv file with a heading, or .jsonl. Columns: {', '.join(COLUMNS)}. "
        f"{', '.join(REQUIRED)} must be there.",
    )

    def __init__(self, apps: list[MobileApp], *args: Any) -> None:
        super().__init__(*args)
        self.fields["app"].choices = [(str(app.pk), app.slug) for app in apps]  # type: ignore[attr-defined]
        self.apps = {str(app.pk): app for app in apps}


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(bulk_jobs.IMPORTS, raise_exception=True)
def import_page(request: HttpRequest) -> HttpResponse:
    """A file is taken, and its devices are imported by workers, as `manage.py import_devices` does it."""
    form = ImportForm(visible_apps(request.user), *((request.POST, request.FILES) if request.method == "POST" else ()))
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            app, pieces = form.apps[form.cleaned_data["app"]], iter(file.chunks())
            return redirect(_page_of(bulk_jobs.start_import(app, PurePath(file.name).name, pieces, request.user)))
        except InvalidInput as error:
            form.add_error("file", f"The file {error.message}" if error.message[:1].islower() else error.message)
    context = {**admin.site.each_context(request), "title": "Import devices", "form": form}
    return TemplateResponse(request, "registry/console/import.html", context)
