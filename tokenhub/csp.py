"""The admin's content security policy: the site's, and the little more that Unfold needs."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csp import csp_override


class AdminPolicy:
    """Sets ADMIN_CSP for everything below /admin/. Stands after Django's ContentSecurityPolicyMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.site = get_response
        policy: dict[str, Any] = settings.ADMIN_CSP
        self.admin = csp_override(policy)(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.admin(request) if request.path_info.startswith("/admin/") else self.site(request)
