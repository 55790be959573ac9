"""The sign-in page, behind django-axes' lock."""

from typing import Any

from allauth.account.views import LoginView
from axes.decorators import axes_dispatch, axes_form_invalid
from django.contrib import admin
from django.http import HttpRequest
from django.utils.decorators import method_decorator


@method_decorator(axes_dispatch, name="dispatch")
@method_decorator(axes_form_invalid, name="form_invalid")
class SignIn(LoginView):
    """A name and a password, or Microsoft's button where Entra ID is configured."""


def console(request: HttpRequest) -> dict[str, Any]:
    """A context processor: what Unfold's templates need on pages that are not the admin site's own."""
    if not request.path_info.startswith(("/admin/login/", "/admin/account/")):
        return {}
    return admin.site.each_context(request)
