"""API keys: made, which shows them once, and revoked."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from registry import models
from registry.admin.base import AppFilter, ConsoleAdmin, ReadOnlyAdmin, confirm
from registry.crypto import sha256
from registry.services.audit import record
from registry.services.keys import create_key, revoke_key


@admin.register(models.ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys can be made, which shows them once, and revoked."""

    empty_text = "Nobody can post without a key: make one for your backend (server), and one for the app (mobile)."

    app_path = "app"
    list_display = ("hint", "app", "kind", "name", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("app",)
    list_filter = (("app", AppFilter), "kind", ("revoked_at", admin.EmptyFieldListFilter))
    fields = ("app", "kind", "name", "hint", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return ConsoleAdmin.has_add_permission(self, request)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry.change_apikey")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else ("app", "kind", "name")

    def save_model(self, request: HttpRequest, obj: models.ApiKey, form: Any, change: bool) -> None:
        request.new_key = create_key(app=obj.app, kind=obj.kind, name=obj.name)  # type: ignore[attr-defined]
        made = models.ApiKey.objects.get(key_hash=sha256(request.new_key))  # type: ignore[attr-defined]
        obj.pk, obj.hint = made.pk, made.hint

    def response_add(self, request: HttpRequest, obj: models.ApiKey, post_url_continue: str | None = None) -> Any:
        # Answered at once, not after a redirect: that would have to carry the key somewhere.
        context = {**self.admin_site.each_context(request), "title": "API key made", "key": obj}
        context["text"] = request.new_key  # type: ignore[attr-defined]
        return TemplateResponse(request, "admin/registry/apikey/made.html", context)

    @admin.action(description="Revoke the selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[models.ApiKey]) -> HttpResponse | None:
        if not request.POST.get("confirmed"):
            living = [key for key in chosen if key.revoked_at is None]
            context = {
                "what": ", ".join(f"{key.hint}… ({key.get_kind_display()}, {key.app})" for key in living) or "none",
                "meaning": "Whoever posts with them is refused within seconds, and they cannot be brought back.",
                "danger": True,
            }
            return confirm(self, request, "Revoke keys", context)
        revoked = [key for key in chosen if revoke_key(key)]
        for key in revoked:
            self.log_change(request, key, "Revoked.")
            record(key, "revoked", request.user)
        messages.success(request, f"{len(revoked)} of {len(chosen)} keys were revoked now.")
        return None
