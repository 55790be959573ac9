"""Receipts of erasures, and the end by force."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from registry import models
from registry.admin.base import AppFilter, ConsoleAdmin, ReadOnlyAdmin
from registry.services.audit import record
from registry.services.erasure import force_erasure
from registry.services.errors import InvalidInput
from registry.states import ErasureState


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

    app_path = "app"
    form = ForceErasureForm
    empty_text = "Erasures are asked for by your server (DELETE /users), or with manage.py erase_user."
    list_display = ("id", "app", "state", "requested_at", "finished_at", "not_cleaned_up")
    list_select_related = ("app",)
    list_filter = ("state", ("app", AppFilter))
    search_fields = ("id__exact",)
    ordering = ("-requested_at",)
    fields = (
        *("id", "app", "state", "requested_at", "requested_by", "finished_at", "finished_by"),
        *("devices", "registrations", "events", "not_cleaned_up", "note", "force"),
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        waits = obj is None or obj.state == ErasureState.WAITING
        return waits and ConsoleAdmin.has_change_permission(self, request, obj)

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
        record(obj, "forced to its end", request.user)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return f"Forced to its end: {form.cleaned_data['note']}"
