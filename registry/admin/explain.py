"""Why did this customer not get the push? One search box, and everything about who or what is found."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe

from registry.admin.base import ConsoleAdmin, page_action
from registry.models import DataverseMapping, Device, MobileUser, secret_columns
from registry.services import explain as service
from registry.services import history
from registry.services.access import visible_apps
from registry.services.search import Hit, search

if TYPE_CHECKING:
    _Admin = ConsoleAdmin
else:
    _Admin = object

PERMISSIONS = ("registry.view_mobileuser", "registry.view_device", "registry.view_registration")
SECRETS = (*secret_columns("app__"), "app__dataverse__client_secret")  # nothing here needs them


@require_safe
@permission_required(PERMISSIONS, raise_exception=True)
def explain(request: HttpRequest) -> HttpResponse:
    """`q` is what is searched for; `user` or `device` the one chosen, by id; `before` goes on in the timeline."""
    apps = visible_apps(request.user)
    text = request.GET.get("q", "").strip()
    hits: list[Hit] = []
    found = _chosen(request, [app.pk for app in apps])
    if found is None and text:
        hits = search(text, apps)
        if len(hits) == 1:
            found = _explanation(hits[0])
    context = {
        **admin.site.each_context(request),
        "title": "Explain",
        "subtitle": "Why did this customer not get the push?",
        "text": text,
        "hits": hits,
        "found": found,
        "apps": apps,
        **(_timeline(found, _before(request)) if found else {}),
    }
    return TemplateResponse(request, "registry/console/explain.html", context)


def _chosen(request: HttpRequest, apps: list[int]) -> service.Explanation | None:
    for name, rows, show in (
        ("user", MobileUser.objects.select_related("app__dataverse").defer(*SECRETS), service.explain_user),
        ("device", Device.objects.select_related("app__dataverse", "user").defer(*SECRETS), service.explain_device),
    ):
        if given := request.GET.get(name):
            row: Any = rows.filter(pk=given, app__in=apps).first() if given.isdecimal() and len(given) < 19 else None
            if row is None:
                raise Http404
            return show(row)
    return None


def _explanation(hit: Hit) -> service.Explanation:
    if hit.user is not None:
        return service.explain_user(hit.user)
    assert hit.device is not None  # noqa: S101 a hit is one or the other
    return service.explain_device(hit.device)


def _before(request: HttpRequest) -> datetime | None:
    try:
        return parse_datetime(request.GET.get("before", ""))
    except ValueError:
        return None


def _timeline(found: service.Explanation, before: datetime | None) -> dict[str, Any]:
    shown = history.timeline(found.app, [view.device for view in found.devices], found.user, before)
    return {"timeline": shown.lines, "earlier": shown.earlier, "before": before}


class LeadsToExplain(_Admin):
    """For rows of a user or a device: the way from their page to the explanation."""

    actions_detail: tuple[str, ...] = ("explain",)

    def has_explain_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perms(PERMISSIONS)

    @page_action(description="Explain", permissions=["explain"], icon="person_search")
    def explain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            raise PermissionDenied
        return redirect(f"{reverse('explain')}?{_subject(row)}")


def _subject(row: Any) -> str:
    if isinstance(row, (MobileUser, DataverseMapping)):
        return f"user={row.pk}"  # a mapping's key is its user's
    device = row.pk if isinstance(row, Device) else row.device_id
    return f"device={device}" if device else f"q={getattr(row, 'dataverse_id', None) or ''}"
