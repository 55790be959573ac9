"""Who is behind what the audit log records of a request, and from which address."""

from collections.abc import Callable

from auditlog.context import set_extra_data
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from registry.services.limits import client_of


class AuditTrail:
    """django-auditlog's middleware for the admin alone, with an address that only our own proxies can tell."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith("/admin/"):
            return self.get_response(request)
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        trusted = tuple(settings.TOKENHUB_TRUSTED_PROXIES)
        address = client_of(request.META.get("REMOTE_ADDR", ""), forwarded, trusted)
        actor = request.user if request.user.is_authenticated else None
        with set_extra_data({"actor": actor, "remote_addr": str(address) if address else None}):
            return self.get_response(request)
