"""A new encryption key comes in while everything runs, and the old one goes."""

import json
from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.mfa.utils import decrypt
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db import connection
from pytest_django import Settings

from registry import crypto
from registry.models import DataverseEnvironment, MobileApp, TokenIssuer
from registry.services import rotation
from registry.services.apps import set_api_token
from tests.registry.test_commands import run

pytestmark = pytest.mark.django_db


@pytest.fixture
def new_key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture
def apps(make_app: Callable[..., MobileApp]) -> list[MobileApp]:
    """Three apps, one with a shared secret; and their environment."""
    made = [make_app(slug, api_token=f"token of {slug}") for slug in ("one", "two", "three")]
    TokenIssuer.objects.create(app=made[0], issuer="i", audience="a", secret="shared secret", algorithms=["HS256"])
    return made


def everything() -> set[str]:
    return {
        *MobileApp.objects.values_list("api_token", flat=True),
        *DataverseEnvironment.objects.values_list("client_secret", flat=True),
        *TokenIssuer.objects.values_list("secret", flat=True),
    }


def test_the_old_key_is_not_needed_any_more_afterwards(apps: list[MobileApp], new_key: str, settings: Settings) -> None:
    before = everything()
    assert len(before) == 5
    [old] = settings.TOKENHUB_ENCRYPTION_KEYS
    settings.TOKENHUB_ENCRYPTION_KEYS = [new_key, old]
    checked = json.loads(run("rotate_encryption_key", "--check", "--json"))
    assert checked == {"rotated": 0, "values": 5, "by_key": [0, 5], "complete": False}
    assert run("rotate_encryption_key") == (
        "5 of 5 values were encrypted anew.\nKey 1 opens 5 values.\nKey 2 opens 0 values.\n"
        "Key 1 opens everything: the others can be taken away."
    )
    settings.TOKENHUB_ENCRYPTION_KEYS = [new_key]
    assert everything() == before
    assert run("rotate_encryption_key") == "Key 1 opens 5 values."


def test_the_secrets_of_second_factors_are_rotated_too(new_key: str, settings: Settings) -> None:
    user = User.objects.create_user("olga")
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    codes = RecoveryCodes.activate(user).generate_codes()
    settings.TOKENHUB_ENCRYPTION_KEYS = [new_key, *settings.TOKENHUB_ENCRYPTION_KEYS]
    checked = json.loads(run("rotate_encryption_key", "--json"))
    assert checked == {"rotated": 2, "values": 2, "by_key": [2, 0], "complete": True}
    settings.TOKENHUB_ENCRYPTION_KEYS = [new_key]
    totp, recovery = Authenticator.objects.get(type="totp"), Authenticator.objects.get(type="recovery_codes")
    assert decrypt(totp.data["secret"]) == secret
    assert RecoveryCodes(recovery).generate_codes() == codes
    assert recovery.data.keys() == {"seed", "used_mask"}
    settings.TOKENHUB_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match=r"2 of 2 values .* Authenticator \d+: secret"):
        run("rotate_encryption_key", "--check")


def test_one_that_was_stopped_goes_on_where_it_was(
    apps: list[MobileApp], new_key: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH", 1)
    settings.TOKENHUB_ENCRYPTION_KEYS = [new_key, *settings.TOKENHUB_ENCRYPTION_KEYS]
    rounds = rotation.rotate(write=True)
    found = next(found for found in rounds if found.rotated == 2)
    assert found.by_key == {0: 2}
    result = json.loads(run("rotate_encryption_key", "--json"))
    assert result == {"rotated": 3, "values": 5, "by_key": [5, 0], "complete": True}


def test_a_value_that_no_key_opens_is_named_and_no_key_may_go(
    apps: list[MobileApp], new_key: str, settings: Settings
) -> None:
    with connection.cursor() as cursor:
        stranger = Fernet(Fernet.generate_key()).encrypt(b"x").decode()
        cursor.execute("UPDATE registry_mobileapp SET api_token = %s WHERE id = %s", [stranger, apps[1].pk])
    settings.TOKENHUB_ENCRYPTION_KEYS = [new_key, *settings.TOKENHUB_ENCRYPTION_KEYS]
    with pytest.raises(CommandError, match=f"1 of 5 values are opened by none .* MobileApp {apps[1].pk}: api_token"):
        run("rotate_encryption_key")
    set_api_token(apps[1], "renewed")
    assert json.loads(run("rotate_encryption_key", "--json"))["by_key"] == [5, 0]


def test_a_secret_that_is_renewed_meanwhile_is_not_overwritten(
    apps: list[MobileApp], new_key: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = list(settings.TOKENHUB_ENCRYPTION_KEYS)
    opened = crypto.opened

    def slow(stored: str) -> tuple[int, str] | None:
        found = opened(stored)
        if found and found[1] == "token of two":  # read, and renewed by a process that has not got the new key in front
            settings.TOKENHUB_ENCRYPTION_KEYS = [*old, new_key]
            set_api_token(apps[1], "renewed")
            settings.TOKENHUB_ENCRYPTION_KEYS = [new_key, *old]
        return found

    settings.TOKENHUB_ENCRYPTION_KEYS = [new_key, *old]
    monkeypatch.setattr(rotation, "opened", slow)
    with pytest.raises(CommandError, match="a process still has it in front"):
        run("rotate_encryption_key")
    assert "renewed" in everything()
    assert json.loads(run("rotate_encryption_key", "--json"))["rotated"] == 1
    settings.TOKENHUB_ENCRYPTION_KEYS = [new_key]
    assert "renewed" in everything()
