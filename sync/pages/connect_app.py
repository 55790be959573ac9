"""Connecting an app: paste what Customer Insights - Journeys shows, try the connection, make the app."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from registry.admin.base import put_on
from registry.models import MobileApp
from registry.services import developer_info
from registry.services.access import scope_of
from registry.services.apps import checked_app, store
from registry.services.errors import InvalidInput
from sync import connection_test
from sync.connection_test import Finding
from sync.pages.forms import ConnectForm, draft


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("registry.add_mobileapp", raise_exception=True)
def connect_app(request: HttpRequest) -> HttpResponse:
    """`do` is what is asked for: `read` fills the form in from what was pasted, `test` tries it, `make` does both and
    stores the app where all went well, or where `anyway` says so."""
    scope = scope_of(request.user)
    if not scope.every:
        raise PermissionDenied("Only who sees every app makes one: nobody else would see it.")
    environments = scope.environments()
    if request.method != "POST":
        return _page(request, ConnectForm(environments=environments))
    asked = request.POST.get("do", "test")
    if asked == "read":
        return _page(request, _read(request, environments))
    form = ConnectForm(request.POST, environments=environments)
    app = _app(form)
    if app is None:
        return _page(request, form)
    findings = connection_test.try_all(app)
    good = all(found.ok for found in findings)
    if asked != "make" or not (good or form.cleaned_data["anyway"]):
        return _page(request, form, findings, may_insist=asked == "make" and not good)
    store(app)
    messages.success(request, f"{app.name} is connected. Make its keys below, and say who signs its users' tokens.")
    return redirect("app", app.slug)


def _read(request: HttpRequest, environments: Any) -> ConnectForm:
    """The form with what the pasted text tells; what it does not tell stays as it was typed in."""
    found = developer_info.parse(request.POST.get("paste", ""))
    if found:
        named = ", ".join(str(ConnectForm.base_fields[name].label) for name in found)
        messages.info(request, f"Read: {named}. See whether it is right, and fill in the rest.")
    else:
        messages.warning(request, "Nothing was understood of what was pasted: type the four values in.")
    typed = {name: request.POST.get(name, "") for name in ConnectForm.base_fields if name not in ("match", "match_by")}
    lists = {name: request.POST.getlist(name) for name in ("match", "match_by")}
    # Kept out: what was pasted holds the token in plain sight.
    return ConnectForm(initial={**typed, **lists, **found, "paste": ""}, environments=environments)


def _app(form: ConnectForm) -> MobileApp | None:
    """The app that the form describes, not stored; None where a value is wrong, which the form tells."""
    if not form.is_valid():
        return None
    try:
        return checked_app(**draft(form.cleaned_data))
    except InvalidInput as error:
        put_on(form, error)
        return None


def _page(
    request: HttpRequest, form: ConnectForm, findings: list[Finding] | None = None, *, may_insist: bool = False
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Connect an app",
        "form": form,
        "findings": findings,
        "may_insist": may_insist,
        "environments": scope_of(request.user).environments().exists(),
    }
    return TemplateResponse(request, "sync/connect_app.html", context)
