"""What holds for every page of the admin once somebody is signed in."""

from collections.abc import Callable

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

_PROVEN = "tokenhub_second_factor"  # in the session


class SignedIn:
    """Who is no longer staff is signed out; who came with a password alone adds a second factor before anything else.

    With Entra ID the second factor is Entra ID's own (Conditional Access).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith("/admin/") and request.user.is_authenticated:
            if not request.user.is_staff:
                logout(request)
            elif settings.TOKENHUB_SECOND_FACTOR and not _is_free(request.path_info) and not _has_proven(request):
                return HttpResponseRedirect(reverse("mfa_activate_totp"))
        return self.get_response(request)


def _is_free(path: str) -> bool:
    """The pages that lead to a second factor, and out."""
    return path.startswith(("/admin/account/", "/admin/logout/", "/admin/jsi18n/"))


def _has_proven(request: HttpRequest) -> bool:
    if request.session.get(_PROVEN):
        return True
    methods = {record["method"] for record in get_authentication_records(request, request.user)}
    proven = "socialaccount" in methods or Authenticator.objects.filter(user=request.user, type="totp").exists()
    if proven:
        request.session[_PROVEN] = True
    return proven
