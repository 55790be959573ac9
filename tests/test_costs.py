"""What operations cost, counted and not timed: SQL statements, round trips to Valkey, calls to Microsoft.

A number here is a limit. Lower it when you have found a cheaper way; raise it only with a reason in the commit.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from registry.models import MobileApp, Registration
from registry.services.keys import create_key
from registry.states import RegistrationState
from sync.steps import confirm, map, plan, push  # noqa: A004 named as the step is
from tests.conftest import Api
from tests.registry.test_lane import LAUNCH, Web, processes_memory, repeat, statements_of_each_trip, web
from tests.sandbox_process import World, sandbox, world

__all__ = ["processes_memory", "sandbox", "web", "world"]

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def at_most(statements: int) -> Iterator[CaptureQueriesContext]:
    """Fail where the block sends more SQL statements by Django, which are its round trips; BEGIN and COMMIT count."""
    with CaptureQueriesContext(connection) as sent:
        yield sent
    listed = "\n".join(query["sql"][:150] for query in sent.captured_queries)
    assert len(sent) <= statements, f"{len(sent)} statements:\n{listed}"


@contextmanager
def trips_to_valkey(count: int) -> Iterator[None]:
    """Fail where this thread sends another number of commands; the server's statistics tell of all test processes."""
    sent: list[Any] = []
    asking = threading.get_ident()
    send: Any = redis.connection.AbstractConnection.send_packed_command

    def counted(connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == asking:
            sent.append(command)
        return send(connection, command, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis.connection.AbstractConnection, "send_packed_command", counted)
        yield
    assert len(sent) == count, sent


def test_a_launch_that_changes_nothing_is_one_select_and_waits_for_nothing_else(
    web: Web, app: MobileApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = create_key(app=app, kind="server")
    body = {**LAUNCH, "user": {"id": "anna", "email": "anna@example.com"}}
    assert repeat(web, key, body) == 0
    trips = statements_of_each_trip(monkeypatch)
    with at_most(0), trips_to_valkey(0):
        assert web.post(key, body).body["result"] == "unchanged"
    assert trips == [1]


def test_a_plain_change_is_one_trip_more(web: Web, app: MobileApp, monkeypatch: pytest.MonkeyPatch) -> None:
    key = create_key(app=app, kind="server")
    assert repeat(web, key, LAUNCH) == 0
    trips = statements_of_each_trip(monkeypatch)
    with at_most(0), trips_to_valkey(0):
        assert web.post(key, {**LAUNCH, "token": "token-2"}).body["result"] == "updated"
        assert web.post(key, {**LAUNCH, "installation_id": "phone-2", "token": "token-3"}).status == 201
    assert trips == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("more", "statements"),
    [
        ({"token": "token-2"}, 15),
        ({"user": {"id": "anna", "email": "anna@elsewhere.example"}}, 16),
        ({"installation_id": "phone-2", "token": "token-3"}, 15),
        ({"installation_id": "phone-2", "token": "token-3", "user": {"id": "ben", "email": "ben@example.com"}}, 20),
    ],
    ids=["token changed", "e-mail changed", "new installation", "new installation and user"],
)
def test_a_launch_that_changes_something(server: Api, more: dict[str, Any], statements: int) -> None:
    known = {"user": {"id": "anna", "email": "anna@example.com"}}
    server.launch(**known)
    with at_most(statements):
        assert server.launch(**{**known, **more}).json()["result"] in ("created", "updated")


FLEET = 250


def test_new_devices_go_to_microsoft_in_whole_batches(world: World, settings: Settings) -> None:
    world.microsoft.settings(processing_delay=0, cleanup_delay=0)
    settings.TOKENHUB_FIRST_POLL = settings.TOKENHUB_FIRST_POLL * 0
    settings.TOKENHUB_PENDING_ROUNDS = 3
    people = [f"user-{number}" for number in range(FLEET)]
    world.microsoft.add_records("contacts", [{"emailaddress1": f"{name}@example.com"} for name in people])
    rows = [
        {
            "installation_id": name,
            "platform": "android",
            "token": f"t-{name}",
            "user": {"id": name, "email": f"{name}@example.com"},
        }
        for name in people
    ]
    assert world.server.post("devices/import", {"devices": rows}).status_code == 200
    with at_most(10):
        assert plan.run_batch() == FLEET
    with at_most(17):
        assert map.run_batch(world.app) == FLEET
    assert plan.run_batch() == 0
    for _ in range(3):
        with at_most(16):
            assert push.run_batch(world.app)
    while Registration.objects.exclude(state=RegistrationState.REGISTERED).exists():
        with at_most(16):
            confirm.run_batch(world.app)
    calls = {name: len(world.microsoft.calls(name)) for name in ("register_batch", "status")}
    assert calls == {"register_batch": 3, "status": 3}
    assert len(world.microsoft.calls("query")) <= 1
