"""API keys: made and shown once, used, listed, revoked."""

import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from registry.crypto import sha256
from registry.models import ApiKey, MobileApp
from registry.services import keys
from registry.services.keys import create_key, find_key
from tests.conftest import Api
from tests.people import signed_in, staff
from tests.registry.test_commands import run

pytestmark = pytest.mark.django_db


@pytest.fixture
def remembered(settings: Settings) -> None:
    """Look-ups are kept, as in production, and for longer than this test takes."""
    settings.TOKENHUB_KEY_CACHE = timedelta(minutes=10)
    keys._processes_keys.clear()


def admin(*permissions: str) -> Client:
    return signed_in(staff("olga", permissions=permissions))


def test_a_key_that_is_known_costs_no_query(
    remembered: None, server: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    server.launch()
    with django_assert_num_queries(1):  # the device with its user
        assert server.launch().json()["result"] == "unchanged"


def test_a_revoked_key_is_refused_at_once_where_it_was_revoked(remembered: None, server: Api) -> None:
    server.launch()
    assert "is revoked. Every process refuses it within 600 s." in run("revoke_key", str(ApiKey.objects.get().pk))
    assert server.launch().status_code == 401


def test_other_processes_refuse_a_revoked_key_when_their_time_is_over(remembered: None, server: Api) -> None:
    server.launch()
    ApiKey.objects.update(revoked_at=timezone.now())  # what another process did
    assert server.launch().status_code == 200
    now = time.monotonic()
    for key_hash, known in list(keys._processes_keys.items()):
        keys._processes_keys[key_hash] = replace(known, aged_at=now, believed_until=now)
    assert server.launch().status_code == 401
    assert not keys._processes_keys


def test_unknown_keys_are_not_remembered(remembered: None, server: Api) -> None:
    for number in range(5):
        assert Api(f"thub_srv_{number}").launch().status_code == 401
    assert not keys._processes_keys


def test_a_key_is_looked_up_by_its_hash_alone_so_that_time_tells_nothing_of_it(
    remembered: None, app: MobileApp
) -> None:
    right = create_key(app=app, kind="server")
    nearly = right[:-1] + ("A" if right[-1] != "A" else "B")
    with CaptureQueriesContext(connection) as asked:
        assert Api(nearly).get("devices/x").status_code == 401
    (query,) = asked.captured_queries
    assert sha256(nearly).hex() in query["sql"]
    assert right[-20:-1] not in query["sql"]
    with CaptureQueriesContext(connection) as asked:
        assert Api(right[:-1]).get("devices/x").status_code == 401
    assert not asked.captured_queries  # what can be no key is not looked for


def test_the_last_use_is_written_once_in_a_while(app: MobileApp, server: Api) -> None:
    def last_use() -> Any:
        return ApiKey.objects.get().last_used_at

    assert last_use() is None
    server.launch()
    first = last_use()
    assert timezone.now() - first < timedelta(minutes=1)
    server.launch()
    assert last_use() == first
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(hours=1))
    server.launch()
    assert last_use() >= first


def test_two_keys_live_at_once_and_one_is_revoked(app: MobileApp) -> None:
    old, new = (Api(create_key(app=app, kind="server", name=name)) for name in ("2026", "2027"))
    assert [old.launch().status_code, new.launch().status_code] == [201, 200]
    listed = run("list_keys", "--app", "shop").splitlines()
    assert [line.split()[-1] for line in listed] == ["name", "2026", "2027"]
    run("revoke_key", str(ApiKey.objects.get(name="2026").pk))
    assert [old.launch().status_code, new.launch().status_code] == [401, 200]
    assert "was revoked already" in run("revoke_key", str(ApiKey.objects.get(name="2026").pk))


def test_the_list_for_scripts_shows_no_key(app: MobileApp) -> None:
    key = create_key(app=app, kind="mobile")
    text = run("list_keys", "--json")
    (row,) = json.loads(text)["keys"]
    assert (row["app"], row["kind"], row["key"], row["last_used_at"]) == ("shop", "mobile", f"{key[:13]}…", None)
    assert key not in text


def test_without_keys_the_list_says_how_to_make_one(app: MobileApp) -> None:
    assert run("list_keys") == "There are no keys. Make one with: manage.py create_key"


def test_a_key_that_is_not_there_cannot_be_revoked() -> None:
    with pytest.raises(CommandError, match=r"There is no key 7\. manage\.py list_keys shows them\."):
        run("revoke_key", "7")


def test_a_name_is_one_short_line(app: MobileApp) -> None:
    for name in ("x" * 101, "two\nlines"):
        with pytest.raises(CommandError, match="--name: must be one line of at most 100 characters"):
            run("create_key", "--app", "shop", "--kind", "server", "--name", name)


def test_an_administrator_makes_a_key_and_sees_it_once(app: MobileApp) -> None:
    client = admin("view_apikey", "add_apikey")
    page = client.post("/admin/registry/apikey/add/", {"app": app.pk, "kind": "server", "name": "orders"})
    made = ApiKey.objects.get()
    assert (made.name, made.kind) == ("orders", "server")
    text = page.content.decode()
    key = text[text.index('<pre class="th-secret">') + 23 : text.index("</pre>")]
    assert Api(key).launch().status_code == 201
    for path in ("", f"{made.pk}/change/"):
        assert key not in client.get(f"/admin/registry/apikey/{path}").content.decode()
    assert key not in str(list(LogEntry.objects.values()))


def test_an_administrator_revokes_a_key_and_is_named(app: MobileApp, server: Api) -> None:
    key = ApiKey.objects.get()
    client = admin("view_apikey", "change_apikey")
    form = {"action": "revoke", "_selected_action": [key.pk]}
    answer = client.post("/admin/registry/apikey/", form | {"confirmed": "1"}, follow=True)
    assert "1 of 1 keys were revoked now." in answer.content.decode()
    assert server.launch().status_code == 401
    assert LogEntry.objects.get().get_change_message() == "Revoked."


def test_who_may_only_look_makes_and_revokes_nothing(app: MobileApp, server: Api) -> None:
    client = admin("view_apikey")
    assert client.get("/admin/registry/apikey/add/").status_code == 403
    client.post("/admin/registry/apikey/", {"action": "revoke", "_selected_action": [ApiKey.objects.get().pk]})
    assert server.launch().status_code == 201


def test_keys_are_revoked_in_the_list_after_a_question(app: MobileApp) -> None:
    made = [create_key(app=app, kind="server", name=name) for name in ("old", "present")]
    old = ApiKey.objects.get(name="old")
    chief = signed_in(staff("dora", "administrator"))
    form = {"action": "revoke", "_selected_action": [old.pk]}
    asked = chief.post("/admin/registry/apikey/", form).content.decode()
    assert f"{old.hint}…" in asked
    assert "cannot be brought back" in asked
    assert find_key(made[0])
    chief.post("/admin/registry/apikey/", form | {"confirmed": "1"})
    assert [find_key(key) is None for key in made] == [True, False]
