"""Signing in to the admin: passwords, second factors, lock-outs, and what Entra ID's groups give."""

import re
from datetime import timedelta
from itertools import combinations

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from auditlog.models import LogEntry
from axes.utils import reset
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from pytest_django import Settings

from registry.states import ROLES
from tests.people import signed_in, staff
from tokenhub.environment import Env
from tokenhub.signin.entra import EVERY_APP, Grant, Unusable, access_of, parse_grants
from tokenhub.signin.settings import read

PASSWORD = "correct-horse-9"
LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def nothing_counted(db: None) -> None:
    reset()
    cache.clear()


def try_password(client: Client, name: str, password: str, address: str = "10.0.0.1") -> int:
    return client.post(LOGIN, {"login": name, "password": password}, REMOTE_ADDR=address).status_code


def code_for(secret: str) -> str:
    newest = max(yield_hotp_counters_from_time())  # of those that are taken, the one that is taken for longest
    return str(format_hotp_value(hotp_value(secret, newest)))


def test_a_password_brings_one_to_where_one_wanted(client: Client) -> None:
    staff("vera", "viewer")
    asked = client.get("/admin/registry/device/")
    assert asked.headers["Location"].startswith(LOGIN)
    answer = client.post(LOGIN, {"login": "vera", "password": PASSWORD, "next": "/admin/registry/device/"})
    assert answer.headers["Location"] == "/admin/registry/device/"
    assert client.get("/admin/registry/device/").status_code == 200
    assert LogEntry.objects.latest().additional_data == {"what": "signed in"}


def test_the_session_is_a_new_one_after_signing_in_and_ends(client: Client, settings: Settings) -> None:
    staff("vera", "viewer")
    client.get(LOGIN)
    before = client.session.session_key
    assert try_password(client, "vera", PASSWORD) == 302
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert client.session.session_key != before
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Lax", 8 * 3600)


def test_behind_tls_the_cookie_is_bound_to_the_host() -> None:
    settings = read(Env(), https=True, embedded=False)
    assert settings["SESSION_COOKIE_NAME"].startswith("__Host-")
    assert settings["TOKENHUB_SECOND_FACTOR"] in (True, False)  # the test's own environment says which


def test_who_is_no_staff_does_not_come_in(client: Client) -> None:
    User.objects.create_user("nina", password=PASSWORD)
    answer = client.post(LOGIN, {"login": "nina", "password": PASSWORD})
    assert answer.status_code == 403
    assert "may not use the admin" in answer.content.decode()
    assert client.get("/admin/").status_code == 302


def test_who_is_no_staff_any_more_is_signed_out(db: None) -> None:
    user = staff("vera", "viewer")
    client = signed_in(user)
    assert client.get("/admin/").status_code == 200
    User.objects.update(is_staff=False)
    assert client.get("/admin/").headers["Location"].startswith(LOGIN)
    assert client.get(LOGIN).status_code == 200


def test_wrong_passwords_lock_the_account_for_that_address_and_no_other(client: Client, settings: Settings) -> None:
    staff("vera", "viewer")
    staff("olga", "viewer")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        last = try_password(client, "vera", "wrong")
    assert last == 429
    assert try_password(client, "vera", PASSWORD) == 429  # the right one does not help
    assert try_password(Client(), "olga", PASSWORD) == 302
    assert try_password(Client(), "vera", PASSWORD, address="10.0.0.2") == 302
    told = LogEntry.objects.filter(additional_data__what__startswith="locked out").values_list("object_repr", flat=True)
    assert list(told) == ["vera"]


def test_a_lock_ends(client: Client, settings: Settings) -> None:
    staff("vera", "viewer")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        try_password(client, "vera", "wrong")
    settings.AXES_COOLOFF_TIME = timedelta(seconds=0)
    assert try_password(client, "vera", PASSWORD) == 302


def test_the_locked_address_is_not_the_client_s_to_invent(client: Client, settings: Settings) -> None:
    staff("vera", "viewer")
    for number in range(settings.AXES_FAILURE_LIMIT):
        headers = {"X-Forwarded-For": f"198.51.100.{number}"}
        client.post(LOGIN, {"login": "vera", "password": "wrong"}, headers=headers)
    assert client.post(LOGIN, {"login": "vera", "password": PASSWORD}).status_code == 429


def test_a_password_alone_leads_to_the_second_factor_and_nowhere_else(client: Client, settings: Settings) -> None:
    settings.TOKENHUB_SECOND_FACTOR = True
    staff("vera", "administrator")
    assert try_password(client, "vera", PASSWORD) == 302
    for path in ("/admin/", "/admin/registry/device/", "/admin/auth/user/", "/admin/registry/apikey/add/"):
        for method in (client.get, client.post):
            assert method(path).headers["Location"] == "/admin/account/two-factor/totp/activate/"
    shown = client.get("/admin/account/two-factor/totp/activate/")
    assert shown.status_code == 200, shown.headers
    page = shown.content.decode()
    secret = re.search(r'id="authenticator_secret"[^>]*value="([A-Z0-9]+)"', page, re.DOTALL)
    assert secret, page
    wrong = client.post("/admin/account/two-factor/totp/activate/", {"code": "000000"})
    assert wrong.status_code == 200
    done = client.post("/admin/account/two-factor/totp/activate/", {"code": code_for(secret[1])})
    assert done.status_code == 302
    assert client.get("/admin/").status_code == 200
    # The next time it is asked for. It is not kept in the clear.
    assert secret[1] not in str(Authenticator.objects.get(type="totp").data)
    cache.clear()  # a code is good once
    other = Client()
    answer = other.post(LOGIN, {"login": "vera", "password": PASSWORD})
    assert answer.headers["Location"] == "/admin/account/two-factor/authenticate/"
    assert other.get("/admin/").headers["Location"].startswith(LOGIN)
    assert other.post("/admin/account/two-factor/authenticate/", {"code": "123456"}).status_code == 200
    assert other.get("/admin/").headers["Location"].startswith(LOGIN)
    assert other.post("/admin/account/two-factor/authenticate/", {"code": code_for(secret[1])}).status_code == 302
    assert other.get("/admin/").status_code == 200


def test_a_code_is_good_once(client: Client) -> None:
    user = staff("vera", "viewer")
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    code = code_for(secret)
    for browser, let_in in ((client, True), (Client(), False)):
        browser.post(LOGIN, {"login": "vera", "password": PASSWORD})
        browser.post("/admin/account/two-factor/authenticate/", {"code": code})
        assert (browser.get("/admin/").status_code == 200) is let_in


def test_an_administrator_makes_the_second_factor_of_somebody_be_forgotten(client: Client, settings: Settings) -> None:
    settings.TOKENHUB_SECOND_FACTOR = True
    vera, chief = staff("vera", "viewer"), User.objects.create_superuser("chief")
    for user in (vera, chief):
        TOTP.activate(user, generate_totp_secret())
    action = {"action": "forget_second_factor", "_selected_action": [vera.pk, chief.pk]}
    settings.TOKENHUB_SECOND_FACTOR = False  # the administrator's own is not what is tested
    administrator = signed_in(staff("ada", "administrator"))
    page = administrator.post("/admin/auth/user/", action, follow=True).content.decode()
    assert "vera sets up a new second factor at the next sign-in." in page
    assert "chief: only a superuser may do that." in page
    assert [row.user for row in Authenticator.objects.all()] == [chief]
    assert LogEntry.objects.filter(object_id=vera.pk, additional_data__what="second factor forgotten").exists()
    settings.TOKENHUB_SECOND_FACTOR = True
    try_password(client, "vera", PASSWORD)
    assert client.get("/admin/").headers["Location"] == "/admin/account/two-factor/totp/activate/"


def test_the_secret_of_codes_is_encrypted_with_our_keys(db: None) -> None:
    adapter = get_adapter()
    assert adapter.encrypt("JBSWY3DP") != "JBSWY3DP"
    assert adapter.decrypt(adapter.encrypt("JBSWY3DP")) == "JBSWY3DP"


def test_a_second_factor_that_no_key_opens_is_told_of(client: Client, settings: Settings) -> None:
    TOTP.activate(staff("vera", "viewer"), generate_totp_secret())
    settings.TOKENHUB_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    client.post(LOGIN, {"login": "vera", "password": PASSWORD})
    answer = client.post("/admin/account/two-factor/authenticate/", {"code": "123456"})
    assert answer.status_code == 403
    assert "an administrator forget this second factor" in answer.content.decode()
    assert client.get("/admin/").status_code == 302


def test_nobody_signs_up_and_nothing_of_allauth_s_is_there_that_we_do_not_use(client: Client) -> None:
    for path in ("signup", "password/reset", "email", "sso/entra/login", "sso/signup"):
        assert client.get(f"/admin/account/{path}/").status_code in (302, 404), path
    assert client.post("/admin/account/signup/", {"username": "x", "password1": PASSWORD}).status_code != 200
    assert not User.objects.exists()


GRANTS = parse_grants(
    [
        *("g-admins=administrator", "g-all=viewer", "g-shop=operator:shop", "g-shop-2=viewer:shop"),
        *("g-bank=viewer:bank", "g-cafe=operator:cafe", "g-cafe-chief=administrator:cafe"),
    ]
)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"groups": ["g-admins"]}, ("administrator", None, [])),
        ({"groups": ["G-SHOP", "other"]}, ("operator", {"shop"}, [])),
        ({"groups": ["g-shop", "g-cafe"]}, ("operator", {"shop", "cafe"}, [])),
        ({"groups": ["g-shop", "g-shop-2"]}, ("operator", {"shop"}, [])),
        ({"groups": ["g-shop", "g-admins"]}, ("administrator", None, [])),
        ({"roles": ["g-admins"]}, ("administrator", None, [])),
        ({"groups": ["g-shop", "g-bank"]}, ("operator", {"shop"}, ["viewer of bank"])),
        ({"groups": ["g-all", "g-shop"]}, ("operator", {"shop"}, ["viewer of every app"])),
        ({"groups": ["g-all"], "roles": ["g-shop"]}, ("operator", {"shop"}, ["viewer of every app"])),
        ({"groups": ["g-shop", "g-cafe-chief"]}, ("administrator", {"cafe"}, ["operator of shop"])),
    ],
)
def test_groups_and_app_roles_give_a_role_and_apps(
    claims: dict[str, object], expected: tuple[str, set[str] | None, list[str]]
) -> None:
    access = access_of(claims, GRANTS)
    assert (access.role, access.apps, [str(grant) for grant in access.left_out]) == expected


def test_no_mixture_of_groups_gives_more_than_each_of_them() -> None:
    apps = {grant.app for grant in GRANTS} | {"another"}

    def level(grants: list[Grant], app: str) -> int:
        return max((ROLES.index(grant.role) for grant in grants if grant.app in (app, EVERY_APP)), default=-1)

    for size in range(1, len(GRANTS) + 1):
        for given in map(list, combinations(GRANTS, size)):
            access = access_of({"groups": [grant.group for grant in given]}, GRANTS)
            for app in apps if access.apps is None else access.apps:
                assert ROLES.index(access.role) <= level(given, app), (given, access, app)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({}, "None of your groups"),
        ({"groups": ["others"]}, "None of your groups"),
        ({"groups": "g-admins"}, "None of your groups"),
        ({"groups": [None, 7, {"g-admins": 1}]}, "None of your groups"),
        ({"_claim_names": {"groups": "src1"}}, "more groups than"),
    ],
)
def test_who_is_in_no_group_of_ours_does_not_come_in(claims: dict[str, object], why: str) -> None:
    with pytest.raises(Unusable, match=why):
        access_of(claims, GRANTS)


def test_a_grant_names_a_role_that_there_is() -> None:
    assert parse_grants(["a=viewer"]) == [Grant("a", "viewer", EVERY_APP)]
    for wrong in ("a", "a=root", "=viewer", "a=viewer:", "a=viewer: "):
        with pytest.raises(ValueError, match="is not GROUP=ROLE"):
            parse_grants([wrong])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"TENANT": "t"}, "half configured"),
        ({"TENANT": "common", "CLIENT_ID": "c", "CLIENT_SECRET": "s", "ROLES": "g=viewer"}, "anybody's accounts"),
        ({"TENANT": "t", "CLIENT_ID": "c", "CLIENT_SECRET": "s", "ROLES": "g=root"}, "TOKENHUB_ENTRA_ROLES"),
    ],
)
def test_a_wrong_configuration_of_entra_id_does_not_start(
    given: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"TOKENHUB_ENTRA_{name}", value)
    with pytest.raises(ImproperlyConfigured, match=why):
        read(Env(), https=True, embedded=False)
