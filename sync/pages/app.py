"""One app as those see it who run it: its connection, its ApiToken, what rests, who names its users, and its keys."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from registry.crypto import SecretUnreadable
from registry.models import ApiKey, MobileApp, TokenIssuer, secret_columns
from registry.ports import announce
from registry.services import api_tokens, token_look
from registry.services.access import scope_of
from registry.services.apps import identity_warnings
from registry.services.audit import record
from registry.services.errors import InvalidInput
from registry.services.keys import create_key, revoke_key
from registry.services.pausing import all_open_pauses, next_probe
from registry.states import KeyKind, Platform
from sync import connection_test, pauses
from sync.pages.forms import JwtForm, KeyForm, PauseForm, TokenForm
from sync.steps import rotate

PAUSE, CHANGE = "registry.pause_mobileapp", "registry.change_mobileapp"
# What is to be shown on the page at once, since it is nowhere else; None: the page is loaded anew.
type Shown = Mapping[str, Any] | None


@dataclass(frozen=True)
class Action:
    """What a button does, and the permission that it needs."""

    permission: str
    act: Callable[[HttpRequest, MobileApp], Shown]


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("registry.view_mobileapp", raise_exception=True)
def app_page(request: HttpRequest, slug: str) -> HttpResponse:
    """A POST's `do` names one of ACTIONS."""
    app = _app(request, slug)
    shown = _do(request, app) if request.method == "POST" else {}
    if shown is None:
        return redirect("app", slug)
    may = {
        name: request.user.has_perm(permission)
        for name, permission in (("pause", PAUSE), ("change", CHANGE), ("keys", "registry.view_apikey"))
    }
    rests = all_open_pauses().filter(Q(app=app) | Q(environment=app.dataverse_id)).order_by("created_at")
    context = {
        **admin.site.each_context(request),
        "title": app.name,
        "subtitle": f"App {app.slug}",
        "app": app,
        "may": may | {"resume_environment": may["pause"] and scope_of(request.user).covers(app.dataverse)},
        "rests": [(pause, next_probe(pause)) for pause in rests],
        "paused_by_hand": {pause.platform for pause in rests if pause.app_id},
        "platforms": Platform.choices,
        "warning": identity_warnings().get(app.slug),
        "issuer": TokenIssuer.objects.filter(app=app).defer("secret").first(),
        "keys": ApiKey.objects.filter(app=app, revoked_at=None).order_by("-pk") if may["keys"] else (),
        "token_form": TokenForm(),
        "pause_form": PauseForm(),
        "jwt_form": JwtForm(),
        "key_form": KeyForm(),
        **shown,
    }
    return TemplateResponse(request, "sync/app.html", context)


def _app(request: HttpRequest, slug: str) -> MobileApp:
    """The app without its secrets: whoever needs one reads it."""
    seen = scope_of(request.user).limit(MobileApp.objects.filter(replaced_by=None), "pk").select_related("dataverse")
    has = {"has_next": ~Q(next_api_token=""), "has_former": ~Q(former_api_token="")}
    app = seen.defer(*secret_columns(), "dataverse__client_secret").annotate(**has).filter(slug=slug).first()
    if app is None:
        raise Http404
    return app


def _do(request: HttpRequest, app: MobileApp) -> Shown:
    action = ACTIONS.get(request.POST.get("do", ""))
    if action is None or not request.user.has_perm(action.permission):
        messages.error(request, "You may look at this app, and not do that.")
        return None
    try:
        return action.act(request, app)
    except InvalidInput as error:
        messages.error(request, error.message)
    except SecretUnreadable as error:
        messages.error(request, f"{error} Where that key is lost, store the secret anew with manage.py set_api_token.")
    return None


def _test(request: HttpRequest, app: MobileApp) -> Shown:
    return {"findings": connection_test.try_all(app)}


def _change_token(request: HttpRequest, app: MobileApp) -> Shown:
    api_tokens.begin(app, request.POST.get("api_token", ""))
    record(app, "another ApiToken is to replace the one in use", request.user)
    app.refresh_from_db()
    error = rotate.prove(app)
    if error is None:
        announce(["push", "confirm", "cleanup"])
        messages.success(request, "Accepted: the new ApiToken is in use. The one before stays good for phones.")
        return None
    messages.warning(
        request, "The new ApiToken is kept and tried every minute; until it is accepted the old one is used."
    )
    return {"findings": [connection_test.of_cij(app, error)], "app": _app(request, app.slug)}


def _cancel_token(request: HttpRequest, app: MobileApp) -> Shown:
    api_tokens.cancel(app)
    record(app, "the other ApiToken is tried no longer", request.user)
    messages.success(request, "The new ApiToken is forgotten; the old one stays in use.")
    return None


def _forget_token(request: HttpRequest, app: MobileApp) -> Shown:
    api_tokens.forget_former(app)
    record(app, "the former ApiToken is forgotten", request.user)
    messages.success(request, "The former ApiToken proves nothing any more.")
    return None


def _pause(request: HttpRequest, app: MobileApp) -> Shown:
    form = PauseForm(request.POST)
    if not form.is_valid():
        raise InvalidInput("note", "Give a reason of at most 200 characters, and one of the platforms or all of them.")
    platform = form.cleaned_data["platform"]
    pauses.pause_by_hand(app, request.user.get_username(), form.cleaned_data["note"], platform)
    what = Platform(platform).label if platform else "the app"
    record(app, f"paused {what} by hand", request.user)
    messages.success(request, f"Paused {what}, until somebody resumes it.")
    return None


def _resume(request: HttpRequest, app: MobileApp) -> Shown:
    """`what` is the id of a pause on this page."""
    pause = all_open_pauses().filter(Q(app=app) | Q(environment=app.dataverse_id), pk=_number(request, "what")).first()
    if pause is None:
        messages.info(request, "That is over already.")
        return None
    by = request.user.get_username()
    if pause.environment_id:
        if not scope_of(request.user).covers(app.dataverse):
            raise InvalidInput("what", "Other apps rest with that environment, and you do not see them all.")
        pauses.resume(app.dataverse, by)
    else:
        pauses.resume(app, by, pause.platform)
    record(app, f"resumed {pause.get_platform_display() or 'the app'}, which rested: {pause.reason}", request.user)
    again = pauses.reopen(app)
    announce(["push", "confirm", "cleanup", "relay", "map", "recheck"])
    messages.success(request, "Resumed." + (f" {again} registrations are tried again." if again else ""))
    return None


def _look_at_token(request: HttpRequest, app: MobileApp) -> Shown:
    form = JwtForm(request.POST)
    if not form.is_valid():
        return {"jwt_form": form}
    data = form.cleaned_data
    # The token signs its user in: it is not sent back.
    kept = JwtForm(initial={"installation_id": data["installation_id"]})
    return {"look": token_look.look(app, data["token"], data["installation_id"]), "jwt_form": kept}


def _make_key(request: HttpRequest, app: MobileApp) -> Shown:
    form = KeyForm(request.POST)
    if not form.is_valid():
        return {"key_form": form}
    kind = form.cleaned_data["kind"]
    made = create_key(app=app, kind=kind, name=form.cleaned_data["name"])
    return {"made_key": made, "made_kind": KeyKind(kind).label}


def _revoke_key(request: HttpRequest, app: MobileApp) -> Shown:
    """Asks first: phones with that key are refused, and the key does not come back."""
    key = ApiKey.objects.filter(app=app, pk=_number(request, "key")).first()
    if key is not None and key.revoked_at is None and not request.POST.get("confirmed"):
        return {"revoking": key}
    if key is not None and revoke_key(key):
        record(key, "revoked", request.user)
        messages.success(request, f"The key {key} is revoked: it is refused everywhere within seconds.")
    else:
        messages.info(request, "That key was revoked already.")
    return None


def _number(request: HttpRequest, name: str) -> int:
    text = request.POST.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


ACTIONS = {
    "test": Action(PAUSE, _test),
    "change-token": Action(CHANGE, _change_token),
    "cancel-token": Action(CHANGE, _cancel_token),
    "forget-token": Action(CHANGE, _forget_token),
    "pause": Action(PAUSE, _pause),
    "resume": Action(PAUSE, _resume),
    "look": Action("registry.view_tokenissuer", _look_at_token),
    "make-key": Action("registry.add_apikey", _make_key),
    "revoke-key": Action("registry.change_apikey", _revoke_key),
}
