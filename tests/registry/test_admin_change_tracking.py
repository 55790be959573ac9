"""Change tracking is switched on, and looked at, in the admin."""

from django.test import Client
from django.urls import reverse

from registry.models import ChangeFeed, DataverseEnvironment


def test_the_environment_s_form_says_what_it_needs_and_switches_it_on(
    admin_client: Client, environment: DataverseEnvironment
) -> None:
    assert DataverseEnvironment.objects.filter(change_tracking=False).exists()
    page = reverse("admin:registry_dataverseenvironment_change", args=[environment.pk])
    form = admin_client.get(page)
    assert "whole organisation" in form.content.decode()
    posted = {name: value for name, value in form.context["adminform"].form.initial.items() if value is not None}
    assert admin_client.post(page, {**posted, "change_tracking": "on"}).status_code == 302
    changed = DataverseEnvironment.objects.get()
    assert (changed.change_tracking, changed.client_secret) == (True, "s3cret")


def test_the_feeds_tell_why_nothing_comes(admin_client: Client, environment: DataverseEnvironment) -> None:
    ChangeFeed.objects.create(environment=environment, table="lead", detail="HTTP 403 (0x80040220)")
    shown = admin_client.get(reverse("admin:registry_changefeed_changelist")).content.decode()
    assert "HTTP 403 (0x80040220)" in shown
