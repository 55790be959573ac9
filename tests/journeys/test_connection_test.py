"""Test connection says in words what is wrong, step by step, and changes nothing."""

import pytest

from registry.models import DataverseEnvironment, MobileApp, Pause
from sync import connection_test
from sync.connection_test import Finding
from tests.sandbox_process import World


def findings(world: World, **changes: str) -> dict[str, Finding]:
    app = MobileApp.objects.select_related("dataverse").get(pk=world.app.pk)
    for name, value in changes.items():
        setattr(app, name, value)
    return {found.step: found for found in connection_test.try_all(app)}


def test_all_is_well(world: World) -> None:
    found = findings(world)
    assert list(found) == ["Entra sign-in", "Dataverse", "Customer Insights - Journeys"]
    assert all(one.ok and not one.to_do for one in found.values())
    assert "contacts.emailaddress1" in found["Dataverse"].what
    assert "leads.mobilephone" in found["Dataverse"].what
    assert world.held() == set()


def test_a_wrong_api_token_is_told_and_pauses_nothing(world: World) -> None:
    found = findings(world, api_token="wrong-token-8")["Customer Insights - Journeys"]
    assert not found.ok
    assert "the ApiToken, the mobile app id or the organisation id is wrong" in found.what
    assert "Developer information" in found.to_do
    assert "wrong-token-8" not in f"{found}"
    assert not Pause.objects.exists()


def test_a_wrong_client_secret_is_told_and_dataverse_is_not_asked(world: World) -> None:
    DataverseEnvironment.objects.update(client_secret="no-such-secret")
    found = findings(world)
    assert list(found) == ["Entra sign-in", "Customer Insights - Journeys"]
    assert "client secret is wrong or has expired" in found["Entra sign-in"].what
    assert "no-such-secret" not in f"{found}"


def test_a_tenant_that_does_not_exist_is_told(world: World) -> None:
    DataverseEnvironment.objects.update(tenant="another-tenant")
    found = findings(world)["Entra sign-in"]
    assert not found.ok
    assert "another-tenant" in found.to_do or "Compare" in found.to_do


@pytest.mark.parametrize(
    ("status", "what"),
    [(403, "does not let the application read contacts"), (503, "does not answer"), (429, "asks to wait")],
)
def test_what_dataverse_refuses_is_told(world: World, status: int, what: str) -> None:
    world.microsoft.add_fault("query", status=status, times=2)  # a 401 or 403 is asked twice, with a new sign-in
    found = findings(world)["Dataverse"]
    assert not found.ok
    assert what in found.what
    assert found.to_do


def test_a_column_that_is_not_there_is_told_by_its_name(world: World) -> None:
    DataverseEnvironment.objects.update(profile_email_column="contoso_mail")
    app = MobileApp.objects.select_related("dataverse").get(pk=world.app.pk)
    found = [one for one in connection_test.try_all(app) if not one.ok]
    assert len(found) == 1
    assert "contoso_mail" in found[0].what
    assert "there is no such table or column" in found[0].what


def test_an_endpoint_that_does_not_answer_is_told(world: World) -> None:
    found = findings(world, endpoint="https://localhost:9")["Customer Insights - Journeys"]
    assert not found.ok
    assert "localhost:9 does not answer" in found.what
