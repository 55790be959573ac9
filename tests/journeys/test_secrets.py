"""Secrets that are renewed while everything runs."""

import io

from django.core.management import call_command
from django.utils import timezone

from registry.models import DataverseMapping, Pause, Registration
from tests.sandbox_process import World

ANNA = {"id": "anna", "email": "anna@example.com"}


def probe() -> None:
    Pause.objects.update(until=timezone.now())
    DataverseMapping.objects.update(due_at=timezone.now())
    Registration.objects.update(due_at=timezone.now())


def test_a_new_api_token_is_used_by_the_next_batch_and_the_probe_ends_the_pause(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    world.microsoft.put_app(str(world.app.org_id), str(world.app.mobile_app_id), "renewed")
    world.server.launch(user=ANNA)
    world.work_until(world.app.pauses.exists)
    call_command("set_api_token", "--app", "shop", "--api-token", "renewed", stdout=io.StringIO())
    assert world.app.pauses.exists()
    Registration.objects.update(undecided_until=timezone.now())
    probe()
    world.work_until(lambda: world.held() == {(anna, "token-1")} and not Pause.objects.exists())


def test_a_new_client_secret_is_used_by_the_next_batch_and_the_probe_ends_the_pause(world: World) -> None:
    anna = world.contact(emailaddress1="anna@example.com")
    secret = world.app.dataverse.client_secret
    options = ["--dataverse", world.app.dataverse.name]
    call_command("set_client_secret", *options, "--client-secret", "expired", stdout=io.StringIO())
    world.server.launch(user=ANNA)
    world.work_until(lambda: Pause.objects.filter(reason="credentials").exists())
    call_command("set_client_secret", *options, f"--client-secret={secret}", stdout=io.StringIO())
    assert Pause.objects.exists()
    probe()
    world.work_until(lambda: world.held() == {(anna, "token-1")} and not Pause.objects.exists())
