"""What we believe Customer Insights - Journeys holds, and what it was told of interactions."""

from django.contrib import admin

from registry import models
from registry.admin.base import token_end
from registry.admin.bulk import BulkAdmin
from registry.admin.explain import LeadsToExplain
from registry.admin.tokens import ShowsWholeToken


@admin.register(models.Registration)
class RegistrationAdmin(LeadsToExplain, ShowsWholeToken, BulkAdmin):
    empty_text = "A device is registered when somebody is signed in on it who is mapped to a Dataverse record."
    app_path = "app"
    actions_detail = ("explain", "whole_token")
    list_display = ("dataverse_id", "app", token_end, "desired", "state", "reason", "due_at")
    list_select_related = ("app",)
    exclude = ("token",)


@admin.register(models.InteractionEvent)
class InteractionEventAdmin(LeadsToExplain, BulkAdmin):
    empty_text = "Phones post here which messages were opened."
    app_path = "app"
    list_display = ("received_at", "app", "status", "tracking_id", "state", "reason", "relayed_at")
    list_select_related = ("app",)
    exclude = ("token",)
