"""The search box: whatever a person has in hand finds whom it names, by an index, in the apps that they may see."""

import uuid
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from registry.crypto import sha256
from registry.models import DataverseMapping, Device, MobileApp, MobileUser, Registration
from registry.services.search import search
from tests.conftest import Api

pytestmark = pytest.mark.django_db

RECORD = uuid.UUID("00000000-0000-4000-8000-000000000007")
IOS = "0123456789abcdef" * 4


@pytest.fixture
def known(app: MobileApp, server: Api) -> MobileApp:
    user = {"id": "customer-7", "email": "anna.k@example.com", "phone": "+4930123456"}
    server.launch(installation_id="phone-of-anna", token="fcm-token-of-anna", user=user)
    server.launch(installation_id="tablet-of-anna", platform="ios", token=IOS, user=user)
    server.launch(installation_id="nobodys", token="fcm-token-of-nobody")
    DataverseMapping.objects.update(state="mapped", table="contact", dataverse_id=RECORD)
    app.default_region = "DE"
    return app


@pytest.mark.parametrize(
    ("text", "found_by"),
    [
        ("anna.k@example.com", "e-mail"),
        (" Anna.K@EXAMPLE.com ", "e-mail"),
        ("+49 30 123456", "phone"),
        ("030 123456", "phone"),
        ("customer-7", "app user id"),
        ("phone-of-anna", "installation id"),
        (str(RECORD), "Dataverse id"),
        (f"{{{RECORD}}}".upper(), "Dataverse id"),
        ("fcm-token-of-anna", "token"),
        (IOS.upper(), "token"),
        ("f-anna", "end of the token"),
        ("…of-anna", "end of the token"),
        ("CDEF89abcdef"[-6:].upper(), "end of the token"),
    ],
)
def test_whatever_is_in_hand_finds_the_user_once(known: MobileApp, text: str, found_by: str) -> None:
    [hit] = search(text, [known])
    assert hit.user == MobileUser.objects.get()
    assert hit.found_by == found_by


def test_a_device_of_nobody_is_found_itself(known: MobileApp) -> None:
    [hit] = search("nobodys", [known])
    assert (hit.user, hit.device) == (None, Device.objects.get(installation_id="nobodys"))


def test_a_token_that_is_still_held_finds_the_phone_that_had_it(known: MobileApp) -> None:
    phone = Device.objects.get(installation_id="phone-of-anna")
    Registration.objects.create(
        app=known, device=phone, table="contact", dataverse_id=RECORD, platform="android",
        token="an-older-token", token_hash=sha256("an-older-token"), desired=False, maybe_held=True,
    )  # fmt: skip
    [hit] = search("an-older-token", [known])
    assert hit.user == phone.user


@pytest.mark.parametrize(
    "text", ["", "   ", "…", "anna", "@", "xyz-of-anna", "f-ann", "a" * 500, "\x00", "()", "0" * 32]
)
def test_what_names_nobody_finds_nobody(known: MobileApp, text: str) -> None:
    assert search(text, [known]) == []


def test_other_apps_are_not_looked_into(known: MobileApp, make_app: Callable[..., MobileApp]) -> None:
    other = make_app("other")
    for text in (
        "anna.k@example.com",
        "+4930123456",
        "customer-7",
        "phone-of-anna",
        str(RECORD),
        "fcm-token-of-anna",
        "f-anna",
    ):
        assert search(text, [other]) == [], text
        assert len(search(text, [other, known])) == 1


def test_every_look_up_has_an_index(known: MobileApp) -> None:
    """PostgreSQL is told to go through no table where any index would do; then none may be gone through."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        with CaptureQueriesContext(connection) as queries:
            for text in ("anna.k@example.com", "+4930123456", str(RECORD), "fcm-token-of-anna"):
                search(text, [known])
        assert len(queries) > 8
        for query in queries:
            cursor.execute(f"EXPLAIN {query['sql']}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan" not in plan, f"{query['sql']}\n{plan}"
