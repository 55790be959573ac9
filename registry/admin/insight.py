"""How messages are received: opens by day and by message, of one app."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from registry.models import MobileApp
from registry.services import insight as service
from registry.services.access import visible_apps

PERIODS = (7, 30, 90, 365)
MESSAGES = 50
type Read = Callable[[MobileApp, date, date], Sequence[service.Day | service.Message]]
FILES: dict[str, tuple[type[service.Day] | type[service.Message], Read]] = {
    "days": (service.Day, service.by_day),
    "messages": (service.Message, service.by_message),
}


@require_safe
@permission_required("registry.view_eventcount", raise_exception=True)
def insight(request: HttpRequest) -> HttpResponse:
    """`app` is a slug, `days` one of PERIODS; `file` asks for one of FILES."""
    apps = visible_apps(request.user)
    app = next((app for app in apps if app.slug == request.GET.get("app")), apps[0] if apps else None)
    days = next((days for days in PERIODS if str(days) == request.GET.get("days")), service.DAYS)
    since, until = service.period()
    since = until - timedelta(days=days - 1)
    wanted = FILES.get(request.GET.get("file", ""))
    if wanted and app:
        kind, read = wanted
        answer = HttpResponse(service.as_csv(kind, read(app, since, until)), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{app.slug}-{request.GET["file"]}.csv"'
        return answer
    context = {
        **admin.site.each_context(request),
        "title": "Opens",
        "subtitle": "How messages are received",
        "apps": apps,
        "app": app,
        "days": days,
        "periods": PERIODS,
        "by_day": service.by_day(app, since, until) if app else [],
        "by_message": service.by_message(app, since, until, MESSAGES) if app else [],
    }
    return TemplateResponse(request, "registry/console/insight.html", context)
