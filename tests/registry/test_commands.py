import io
import json
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from registry.models import DataverseEnvironment, MobileApp
from registry.services.keys import find_key


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


def create_dataverse(**changes: str) -> str:
    options = {
        "name": "contoso",
        "url": "https://contoso.crm4.dynamics.com/",
        "tenant": "contoso",
        "client-id": "c",
        "client-secret": "s3cret",
        **changes,
    }
    return run("create_dataverse", *(f"--{name}={value}" for name, value in options.items()))


def create_app(*more: str, **changes: str) -> str:
    options = {
        "slug": "shop",
        "name": "Shop",
        "org-id": str(uuid.uuid4()),
        "mobile-app-id": str(uuid.uuid4()),
        "endpoint": "public-eur.mkt.dynamics.com/",
        "api-token": "t0ken",
        "dataverse": "contoso",
        **changes,
    }
    return run("create_app", *(f"--{name}={value}" for name, value in options.items()), *more)


@pytest.mark.django_db
def test_an_app_is_made_from_the_command_line() -> None:
    create_dataverse()
    made = json.loads(create_app("--json", "--match", "lead,contact", "--match-by", "phone"))
    app = MobileApp.objects.get()
    assert made["slug"] == app.slug == "shop"
    assert app.endpoint == "https://public-eur.mkt.dynamics.com"
    assert (app.match, app.match_by, app.identity) == (["lead", "contact"], ["phone"], "jwt")
    key = json.loads(run("create_key", "--app", "shop", "--kind", "server", "--json"))["key"]
    found = find_key(key)
    assert found is not None
    assert (found.app, found.kind) == (app, "server")


@pytest.mark.django_db
def test_old_and_surplus_devices_and_the_country_of_numbers_are_set_with_the_app() -> None:
    create_dataverse()
    create_app("--android-stale-days", "90", "--max-devices-per-user", "0", "--default-region", "DE")
    app = MobileApp.objects.get()
    assert (app.android_stale_days, app.max_devices_per_user, app.default_region) == (90, 0, "DE")


@pytest.mark.django_db
def test_secrets_come_from_the_environment_or_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", "from-the-environment")
    create_dataverse(**{"client-secret": "@env:CLIENT_SECRET"})
    monkeypatch.setattr("sys.stdin", io.StringIO("from-standard-input\n"))
    create_app(**{"api-token": "-"})
    assert DataverseEnvironment.objects.get().client_secret == "from-the-environment"
    assert MobileApp.objects.get().api_token == "from-standard-input"
    with pytest.raises(CommandError, match="NOT_SET is not set"):
        create_dataverse(name="other", **{"client-secret": "@env:NOT_SET"})


@pytest.mark.django_db
def test_at_a_terminal_a_secret_is_typed_in_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("registry.management.base.getpass", lambda prompt: "typed")
    create_dataverse(**{"client-secret": "-"})
    assert DataverseEnvironment.objects.get().client_secret == "typed"


@pytest.mark.django_db
def test_secrets_are_replaced_and_what_happens_next_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    create_dataverse()
    create_app()
    monkeypatch.setattr("sys.stdin", io.StringIO("another-token\nanother-secret\n"))
    said = run("set_api_token", "--app", "shop", "--api-token", "-")
    assert "the next probe ends that" in said
    assert "manage.py resume_app --app shop" in said
    run("set_client_secret", "--dataverse", "contoso", "--client-secret", "-")
    assert MobileApp.objects.get().api_token == "another-token"
    assert DataverseEnvironment.objects.get().client_secret == "another-secret"
    with connection.cursor() as cursor:
        cursor.execute("SELECT a.api_token, d.client_secret FROM registry_mobileapp a, registry_dataverseenvironment d")
        stored = cursor.fetchone()
    assert stored is not None
    assert not any("another" in value for value in stored)


@pytest.mark.django_db
def test_a_secret_that_cannot_be_read_any_more_can_be_replaced() -> None:
    create_dataverse()
    create_app()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE registry_mobileapp SET api_token = 'rubbish'")
        cursor.execute("UPDATE registry_dataverseenvironment SET client_secret = 'rubbish'")
    run("set_api_token", "--app", "shop", "--api-token", "new")
    run("set_client_secret", "--dataverse", "contoso", "--client-secret", "new")
    assert (MobileApp.objects.get().api_token, DataverseEnvironment.objects.get().client_secret) == ("new", "new")


@pytest.mark.django_db
def test_an_empty_secret_and_an_unknown_environment_are_told() -> None:
    create_dataverse()
    create_app()
    with pytest.raises(CommandError, match=r"--api-token: is empty"):
        run("set_api_token", "--app", "shop", "--api-token", " ")
    with pytest.raises(CommandError, match=r"--client-secret: is empty"):
        run("set_client_secret", "--dataverse", "contoso", "--client-secret", "")
    with pytest.raises(CommandError, match=r"no Dataverse environment 'fabrikam'\. Known environments: contoso"):
        run("set_client_secret", "--dataverse", "fabrikam", "--client-secret", "x")


@pytest.mark.django_db
def test_secrets_are_encrypted_at_rest() -> None:
    create_dataverse()
    create_app()
    with connection.cursor() as cursor:
        cursor.execute("SELECT a.api_token, d.client_secret FROM registry_mobileapp a, registry_dataverseenvironment d")
        stored = cursor.fetchone()
    assert stored is not None
    assert not any(secret in value for value in stored for secret in ("t0ken", "s3cret"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpoint": "https://evil.example"}, "--endpoint: the host 'evil.example' is not allowed"),
        ({"endpoint": "http://public-eur.mkt.dynamics.com"}, "--endpoint: must be an https address"),
        ({"endpoint": "mkt.dynamics.com.evil.example"}, "--endpoint: the host"),
        ({"org-id": "12"}, "--org-id: '12' is not a GUID"),
        ({"dataverse": "nowhere"}, "no Dataverse environment 'nowhere'"),
        ({"match": "account"}, "--match: account is not among"),
        ({"android-stale-days": "-1"}, "--android-stale-days: .*greater than or equal to 0"),
        ({"default-region": "Germany"}, "--default-region: 'Germany' is no country"),
    ],
)
def test_bad_values_are_named(changes: dict[str, Any], message: str) -> None:
    create_dataverse()
    with pytest.raises(CommandError, match=message):
        create_app(**changes)
    assert not MobileApp.objects.exists()


@pytest.mark.django_db
def test_a_taken_slug_and_an_unknown_app_are_told() -> None:
    create_dataverse()
    create_app()
    with pytest.raises(CommandError, match=r"--slug: .*already exists"):
        create_app()
    with pytest.raises(CommandError, match=r"no app 'shoop'\. Known apps: shop"):
        run("create_key", "--app", "shoop", "--kind", "server")


@pytest.mark.django_db
def test_every_change_of_a_model_has_its_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
