"""Dataverse environments, and how far their changes are read."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from registry import models
from registry.admin.base import ConsoleAdmin, ReadOnlyAdmin, put_on, secret_field
from registry.services.access import Scope, scope_of
from registry.services.apps import checked_dataverse
from registry.services.errors import InvalidInput


class EnvironmentForm(forms.ModelForm[models.DataverseEnvironment]):
    """The client secret is written, and never shown."""

    new_secret = secret_field("Client secret", "Its value, not its id. Kept encrypted, and not shown again.")

    class Meta:
        model = models.DataverseEnvironment
        fields = [
            *("name", "url", "tenant", "client_id", "authority"),
            *("profile_email_column", "profile_phone_column", "change_tracking"),
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk:
            self.fields["new_secret"].required = True
        elif "new_secret" in self.fields:
            self.fields["new_secret"].help_text += " Left empty, the stored one stays."

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if not self.instance.pk and not self.errors:
            fields = {name: value for name, value in given.items() if name != "new_secret"}
            try:
                made = checked_dataverse(**fields, client_secret=given["new_secret"])
            except InvalidInput as error:
                put_on(self, error)
            else:
                given |= {"url": made.url, "authority": made.authority}
        return given


@admin.register(models.DataverseEnvironment)
class DataverseEnvironmentAdmin(ConsoleAdmin):
    form = EnvironmentForm
    empty_text = "Add the environment in which your contacts and leads are, then connect an app."
    list_display = ("name", "url", "tenant", "change_tracking")
    fields = (
        *("name", "url", "tenant", "client_id", "new_secret", "authority"),
        *("profile_email_column", "profile_phone_column", "change_tracking"),
    )

    def limit(self, rows: QuerySet[Any], scope: Scope) -> QuerySet[Any]:
        return rows.filter(pk__in=scope.environments())

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("url", "authority") if obj else ()  # the secret travels there: checked when made

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        hidden = obj is not None and not self.has_change_permission(request, obj)
        return [name for name in self.fields if name != "new_secret" or not hidden]

    def save_model(self, request: HttpRequest, obj: models.DataverseEnvironment, form: Any, change: bool) -> None:
        if secret := form.cleaned_data.get("new_secret"):
            obj.client_secret = secret
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        super().response_add(request, obj, post_url_continue)  # says that it was made
        return redirect("connect_app")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return scope_of(request.user).every and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only who sees all of its apps: they all change with it."""
        covered = obj is None or scope_of(request.user).covers(obj)
        return covered and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        covered = obj is None or scope_of(request.user).covers(obj)
        return covered and super().has_delete_permission(request, obj)


@admin.register(models.ChangeFeed)
class ChangeFeedAdmin(ReadOnlyAdmin):
    empty_text = "They begin when change tracking is switched on, on an environment's page."
    list_display = ("environment", "table", "started_at", "completed_at", "checked_at", "due_at", "detail")
    list_select_related = ("environment",)

    def limit(self, rows: QuerySet[Any], scope: Scope) -> QuerySet[Any]:
        return rows.filter(environment__in=scope.environments())
