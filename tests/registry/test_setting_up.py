"""Environments and issuers are made and changed in the admin, and their secrets are written and never shown."""

import pytest
from auditlog.models import LogEntry
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from registry.models import DataverseEnvironment, MobileApp, TokenIssuer
from tests.people import signed_in, staff

pytestmark = pytest.mark.django_db
SECRET = "a-shared-secret-of-thirty-two-bytes-or-more"
ENVIRONMENT = {
    "name": "fabrikam",
    "url": "https://fabrikam.crm4.dynamics.com/",
    "tenant": "fabrikam.example",
    "client_id": "11111111-2222-3333-4444-555555555555",
    "new_secret": "cl13nt-s3cret",
    "authority": "https://login.microsoftonline.com/fabrikam.example",
    "profile_email_column": "msdynci_email",
    "profile_phone_column": "msdynci_phone",
}
ISSUER = {
    "issuer": "https://login.fabrikam.example",
    "audience": "shop-app",
    "leeway": "30",
    "user_claim": "sub",
    "email_claim": "email",
    "phone_claim": "phone_number",
}
ADD_ENVIRONMENT, ADD_ISSUER = "/admin/registry/dataverseenvironment/add/", "/admin/registry/tokenissuer/add/"


@pytest.fixture
def chief() -> Client:
    return signed_in(staff("vera", "administrator"))


@pytest.fixture
def hosts(settings: Settings) -> None:
    settings.TOKENHUB_DATAVERSE_HOST_SUFFIXES = [".dynamics.com"]


def errors(client: Client, page: str, fields: dict[str, str]) -> dict[str, list[str]]:
    answer = client.post(page, fields)
    assert answer.status_code == 200
    return dict(answer.context["adminform"].form.errors)


def test_an_environment_is_made_and_its_secret_changed(chief: Client, hosts: None) -> None:
    answer = chief.post(ADD_ENVIRONMENT, ENVIRONMENT)
    assert answer.headers["Location"] == reverse("connect_app")
    made = DataverseEnvironment.objects.get(name="fabrikam")
    assert (made.url, made.authority) == ("https://fabrikam.crm4.dynamics.com", "https://login.microsoftonline.com")
    assert made.client_secret == "cl13nt-s3cret"
    page = reverse("admin:registry_dataverseenvironment_change", args=[made.pk])
    assert "s3cret" not in chief.get(page).content.decode()
    chief.post(page, {**ENVIRONMENT, "new_secret": "", "tenant": "other.example", "url": "https://evil.example"})
    made.refresh_from_db()
    assert (made.client_secret, made.tenant) == ("cl13nt-s3cret", "other.example")
    assert made.url == "https://fabrikam.crm4.dynamics.com"
    chief.post(page, {**ENVIRONMENT, "new_secret": "an0ther-s3cret"})
    made.refresh_from_db()
    assert made.client_secret == "an0ther-s3cret"
    with connection.cursor() as cursor:
        cursor.execute("SELECT client_secret FROM registry_dataverseenvironment WHERE id = %s", [made.pk])
        assert "s3cret" not in str(cursor.fetchone())
    assert LogEntry.objects.filter(object_repr="fabrikam", changes__has_key="client_secret").count() == 2
    assert "s3cret" not in "".join(str(entry.changes) for entry in LogEntry.objects.all())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://evil.example"),
        ("url", "http://fabrikam.crm4.dynamics.com"),
        ("authority", "http://login.example"),
        ("new_secret", ""),
    ],
)
def test_an_environment_that_cannot_be_good_is_refused(chief: Client, hosts: None, field: str, value: str) -> None:
    assert list(errors(chief, ADD_ENVIRONMENT, {**ENVIRONMENT, field: value})) == [field]
    assert not DataverseEnvironment.objects.filter(name="fabrikam").exists()


def test_an_issuer_is_made_and_changed(chief: Client, app: MobileApp) -> None:
    assert f"{ADD_ISSUER}?app={app.pk}" in chief.get(reverse("app", args=[app.slug])).content.decode()
    answer = chief.post(ADD_ISSUER, {**ISSUER, "app": str(app.pk), "new_secret": SECRET})
    assert answer.headers["Location"] == reverse("app", args=[app.slug])
    made = TokenIssuer.objects.get(app=app)
    assert (made.secret, made.algorithms, made.keys_due_at) == (SECRET, ["HS256"], None)
    page = reverse("admin:registry_tokenissuer_change", args=[made.pk])
    assert SECRET not in chief.get(page).content.decode()
    chief.post(page, {**ISSUER, "audience": "another", "algorithms": ["HS256"]})
    kept = TokenIssuer.objects.get(app=app)
    assert (kept.pk, kept.secret, kept.audience) == (made.pk, SECRET, "another")
    TokenIssuer.objects.update(keys={"keys": []}, keys_error="HTTP 500")
    chief.post(page, {**ISSUER, "jwks_url": "https://login.fabrikam.example/keys"})
    changed = TokenIssuer.objects.get(app=app)
    assert (changed.secret, changed.keys, changed.keys_error, changed.algorithms) == ("", None, "", ["RS256", "ES256"])
    assert changed.keys_due_at is not None
    assert SECRET not in "".join(str(entry.changes) for entry in LogEntry.objects.all())


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"new_secret": "short"}, "new_secret"),
        ({}, "jwks_url"),
        ({"jwks_url": "https://login.example/keys", "new_secret": SECRET}, "jwks_url"),
        ({"public_keys": "rubbish"}, "public_keys"),
        ({"new_secret": SECRET, "algorithms": "RS256"}, "algorithms"),
    ],
)
def test_an_issuer_that_proves_nobody_is_refused(
    chief: Client, app: MobileApp, fields: dict[str, str], named: str
) -> None:
    assert list(errors(chief, ADD_ISSUER, {**ISSUER, "app": str(app.pk), **fields})) == [named]
    assert not TokenIssuer.objects.exists()


def test_who_may_only_look_changes_neither(app: MobileApp) -> None:
    client = signed_in(staff("olga", "operator"))
    issuer = TokenIssuer.objects.create(app=app, issuer="https://login.example", audience="shop", secret=SECRET)
    for page in (
        reverse("admin:registry_tokenissuer_change", args=[issuer.pk]),
        reverse("admin:registry_dataverseenvironment_change", args=[app.dataverse_id]),
    ):
        shown = client.get(page)
        assert shown.status_code == 200
        assert "new_secret" not in shown.content.decode()
        assert client.post(page, {"new_secret": SECRET}).status_code == 403
    assert client.get(ADD_ISSUER).status_code == client.get(ADD_ENVIRONMENT).status_code == 403


def test_an_issuer_is_not_given_to_an_app_that_one_does_not_see(app: MobileApp) -> None:
    user = staff("paul", "administrator", apps=set())
    found = errors(signed_in(user), ADD_ISSUER, {**ISSUER, "app": str(app.pk), "new_secret": SECRET})
    assert list(found) == ["app"]
