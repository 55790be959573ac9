"""The one way to a whole push token: a permission, a button that is pressed on purpose, a line in the audit log."""

from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache

from registry.admin.base import ConsoleAdmin, page_action
from registry.services.audit import record_look

if TYPE_CHECKING:
    _Admin = ConsoleAdmin
else:
    _Admin = object


class ShowsWholeToken(_Admin):
    """For rows with a `token`."""

    actions_detail: tuple[str, ...] = ("whole_token",)

    def has_see_token_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm("registry.see_whole_token")

    @page_action(description="Show the whole token", permissions=["see_token"], icon="visibility")
    def whole_token(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first; a POST shows it, and has been written down by then."""
        row = self.get_object(request, object_id)
        if row is None:
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "title": "The whole token", "row": row, "opts": self.opts}
        if request.method == "POST":
            record_look(row, "looked at the whole token", request.user)
            context["token"] = row.token
        return never_cache(TemplateResponse)(request, "admin/registry/token.html", context)
