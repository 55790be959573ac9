"""The tables in Django's admin. What workers write is shown, not edited."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from registry import models
from registry.crypto import sha256
from registry.services.apps import identity_warnings
from registry.services.connections import left_under
from registry.services.erasure import force_erasure
from registry.services.errors import InvalidInput
from registry.services.keys import create_key, revoke_key
from registry.states import ErasureState

admin.site.site_header = admin.site.site_title = "tokenhub"


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that only services and workers write. Lists do not count the whole table."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def token_end(row: Any) -> str:
    """The end of a token: enough to recognise it, not to use it."""
    return f"…{row.token[-6:]}"


token_end.short_description = "token"  # type: ignore[attr-defined]


@admin.register(models.MobileApp)
class MobileAppAdmin(admin.ModelAdmin[models.MobileApp]):
    list_display = ("slug", "name", "endpoint", "dataverse", "identity")
    exclude = ("api_token", "batch_cleanup")
    # What was registered under the old ones could not be cleaned up any more.
    readonly_fields = ("org_id", "mobile_app_id", "endpoint")  # manage.py replace_connection

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(replaced_by=None)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # manage.py create_app asks for the ApiToken and checks the host

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        for slug, text in identity_warnings().items():
            messages.warning(request, f"App {slug}: {text}")
        return super().changelist_view(request, extra_context)


@admin.register(models.ReplacedConnection)
class ReplacedConnectionAdmin(ReadOnlyAdmin):
    """Made by manage.py replace_connection, given up with abandon_connection."""

    list_display = ("slug", "replaced_by", "endpoint", "replaced_at", "left", "over_at", "written_off")
    list_select_related = ("replaced_by",)
    fields = (
        *("slug", "replaced_by", "org_id", "mobile_app_id", "endpoint", "replaced_at"),
        *("left", "over_at", "written_off", "note"),
    )
    readonly_fields = fields

    @admin.display(description="still to be retired")
    def left(self, app: models.ReplacedConnection) -> str:
        return "{} registrations, {} events".format(*left_under(app))


@admin.register(models.TokenIssuer)
class TokenIssuerAdmin(ReadOnlyAdmin):
    """Set by manage.py set_token_issuer, which checks what it is given."""

    list_display = ("app", "issuer", "audience", "jwks_url", "keys_fetched_at", "keys_error")
    list_select_related = ("app",)
    exclude = ("secret",)


@admin.register(models.DataverseEnvironment)
class DataverseEnvironmentAdmin(admin.ModelAdmin[models.DataverseEnvironment]):
    list_display = ("name", "url", "tenant", "change_tracking")
    exclude = ("client_secret",)
    readonly_fields = ("url", "authority")  # the secret travels there: checked when made

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(models.ChangeFeed)
class ChangeFeedAdmin(ReadOnlyAdmin):
    list_display = ("environment", "table", "started_at", "completed_at", "checked_at", "due_at", "detail")
    list_select_related = ("environment",)


@admin.register(models.ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys can be made, which shows them once, and revoked."""

    list_display = ("hint", "app", "kind", "name", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("app",)
    list_filter = ("app", "kind", ("revoked_at", admin.EmptyFieldListFilter))
    fields = ("app", "kind", "name", "hint", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

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
    def revoke(self, request: HttpRequest, chosen: QuerySet[models.ApiKey]) -> None:
        revoked = [key for key in chosen if revoke_key(key)]
        for key in revoked:
            self.log_change(request, key, "Revoked.")
        messages.success(request, f"{len(revoked)} of {len(chosen)} keys were revoked now.")


@admin.register(models.Pause)
class PauseAdmin(ReadOnlyAdmin):
    list_display = ("app", "platform", "environment", "reason", "detail", "until")


@admin.register(models.MobileUser)
class MobileUserAdmin(ReadOnlyAdmin):
    list_display = ("external_id", "app", "email", "phone", "push_consent", "tracking_consent")
    search_fields = ("external_id__exact", "email__exact")


@admin.register(models.DataverseMapping)
class DataverseMappingAdmin(ReadOnlyAdmin):
    list_display = ("user", "state", "table", "dataverse_id", "matched_by", "checked_at", "due_at")
    list_select_related = ("user",)
    list_filter = ("state",)


@admin.register(models.Device)
class DeviceAdmin(ReadOnlyAdmin):
    list_display = ("installation_id", "app", "platform", token_end, "user", "last_seen", "shared_since", "retired_at")
    list_select_related = ("app", "user")
    list_filter = ("platform", ("shared_since", admin.EmptyFieldListFilter))
    search_fields = ("installation_id__exact",)
    exclude = ("token",)


class ForceErasureForm(forms.ModelForm[models.Erasure]):
    """What an administrator has to say to end an erasure without CI-J."""

    force = forms.BooleanField(
        label="Delete now",
        help_text="Without waiting any longer: what Customer Insights - Journeys still holds stays there, is no longer "
        "known here, and may get messages on a phone that has changed hands.",
    )
    note = forms.CharField(widget=forms.Textarea, help_text="Why it is forced. Stays in the receipt: no personal data.")

    class Meta:
        model = models.Erasure
        fields = ["note"]


@admin.register(models.Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    """Receipts. One that waits can be forced to its end; Django's history says by whom and why."""

    form = ForceErasureForm
    list_display = ("id", "app", "state", "requested_at", "finished_at", "not_cleaned_up")
    list_select_related = ("app",)
    list_filter = ("state", "app")
    search_fields = ("id__exact",)
    ordering = ("-requested_at",)
    fields = (
        *("id", "app", "state", "requested_at", "requested_by", "finished_at", "finished_by"),
        *("devices", "registrations", "events", "not_cleaned_up", "note", "force"),
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        waits = obj is None or obj.state == ErasureState.WAITING
        return waits and admin.ModelAdmin.has_change_permission(self, request, obj)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        changeable = self.has_change_permission(request, obj)
        return [name for name in self.fields if changeable or name != "force"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for name in self.fields if name not in ("note", "force")]

    def save_model(self, request: HttpRequest, obj: models.Erasure, form: Any, change: bool) -> None:
        try:
            force_erasure(obj.pk, obj.note, request.user.get_username())
        except InvalidInput as error:  # another administrator was quicker, or CI-J was
            raise PermissionDenied(error.message) from None

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return f"Forced to its end: {form.cleaned_data['note']}"


@admin.register(models.Registration)
class RegistrationAdmin(ReadOnlyAdmin):
    list_display = ("dataverse_id", "app", token_end, "desired", "state", "reason", "due_at")
    list_select_related = ("app",)
    list_filter = ("state", "app")
    exclude = ("token",)


@admin.register(models.InteractionEvent)
class InteractionEventAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "app", "status", "tracking_id", "state", "reason", "relayed_at")
    list_select_related = ("app",)
    list_filter = ("state",)
    exclude = ("token",)
