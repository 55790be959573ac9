"""Changes that come back at once: whatever the first has set off by then, the last one holds, and nothing races."""

import threading
import time
from collections.abc import Callable

import pytest
from django.db import connection

from registry.models import Registration
from sandbox.chaos.outcome import races
from sandbox.demo.compare import handovers
from sync import tasks
from tests.journeys.test_outages import launch
from tests.sandbox_process import World, make_world

ANNA = {"id": "anna", "email": "anna@example.com"}
BERT = {"id": "bert", "email": "bert@example.com"}

PHASES = pytest.mark.parametrize("phase", ["not planned", "planned", "sent", "settling", "over"])


@pytest.fixture
def anna(world: World) -> str:
    """Anna's contact; her phone is registered."""
    contact = world.contact(emailaddress1="anna@example.com")
    world.server.launch(user=ANNA)
    world.work_until(lambda: world.held() == {(contact, "token-1")} and world.server.state() == "registered")
    return contact


def until(world: World, phase: str, then: Callable[[], object]) -> None:
    """Work off what was posted so far as far as `phase`, and do `then` at that moment."""
    if phase == "not planned":
        then()
        return
    tasks.STEPS["plan"]()
    if phase == "sent":
        with in_the_air(world):
            then()
            tasks.STEPS["plan"]()
        return
    if phase == "over":
        world.work_until(lambda: not Registration.objects.filter(due_at__isnull=False).exists())
    elif phase == "settling":
        tasks.STEPS["cleanup"]()
        assert Registration.objects.filter(state="retiring", cleaned_at__isnull=False).exists()
    then()


class in_the_air:  # noqa: N801 reads as what it is
    """While the block runs a cleanup is in the air."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            tasks.STEPS["cleanup"]()
        finally:
            connection.close()

    def __enter__(self) -> None:
        for kind in ("cleanup", "cleanup_batch"):
            self._world.microsoft.add_fault(kind, answer_delay=1.0)
        self._thread.start()
        # Only looked for: a round of all steps could take longer than the call is in the air.
        ends = time.monotonic() + 15
        while not Registration.objects.filter(state="retiring", in_flight=True).exists():
            assert time.monotonic() < ends, "the cleanup was never in the air"
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def nothing_raced(world: World) -> bool:
    effects = world.microsoft.effects()
    return handovers(effects).violations == [] and races(world.microsoft.calls(), effects) == []


@PHASES
def test_who_signs_out_and_in_again_is_registered(world: World, anna: str, phase: str) -> None:
    world.mobile.post("devices/phone-1/sign-out")
    until(world, phase, lambda: world.server.launch(user=ANNA))
    world.work_until(lambda: world.server.state() == "registered")
    assert world.held() == {(anna, "token-1")}
    assert nothing_raced(world)
    # Where nobody was told yet, nobody is.
    told = world.microsoft.effects("cleanup")
    assert bool(told) == (phase not in ("not planned", "planned"))


@PHASES
def test_a_token_that_comes_back_is_the_one_that_is_registered(world: World, anna: str, phase: str) -> None:
    world.server.launch(user=ANNA, token="token-2")
    until(world, phase, lambda: world.server.launch(user=ANNA))
    world.work_until(lambda: world.server.state() == "registered" and world.held() == {(anna, "token-1")})
    world.work_until(lambda: not Registration.objects.filter(token="token-2").exclude(state="retired").exists())
    assert nothing_raced(world)


@PHASES
def test_a_phone_that_is_handed_over_and_back_is_its_first_owner_s(world: World, anna: str, phase: str) -> None:
    world.contact(emailaddress1="bert@example.com")
    world.server.launch(user=BERT)
    tasks.STEPS["map"]()
    until(world, phase, lambda: world.server.launch(user=ANNA))
    world.work_until(lambda: world.server.state() == "registered" and world.held() == {(anna, "token-1")})
    world.work_until(lambda: not Registration.objects.filter(desired=False).exclude(state="retired").exists())
    assert nothing_raced(world)


@PHASES
def test_a_token_that_another_phone_claims_is_the_later_one_s(world: World, anna: str, phase: str) -> None:
    bert = world.contact(emailaddress1="bert@example.com")
    world.server.launch(installation_id="phone-2", token="token-1", user=BERT)
    tasks.STEPS["map"]()
    until(world, phase, lambda: None)
    world.work_until(lambda: world.held() == {(bert, "token-1")} and world.server.state("phone-2") == "registered")
    assert world.server.state("phone-1") == "retired"
    assert nothing_raced(world)


def test_no_app_waits_for_another_one_s_backlog(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "BUDGET", 60.0)  # all of a round, however slow this machine is
    other = make_world(world.microsoft, world.app.dataverse, slug="other")
    launch(world, 3)
    other.server.launch(user={"id": "u0", "email": "u0@example.com"})
    tasks.STEPS["map"]()
    tasks.STEPS["plan"]()
    [template] = Registration.objects.filter(app=world.app)[:1]
    for number in range(150):
        template.pk, template.token_hash = None, number.to_bytes(32)
        template.save(force_insert=True)
    with connection.cursor() as cursor:
        # As where PostgreSQL takes the table for nearly empty: it asks for the due rows once for each row of the table.
        cursor.execute("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_hashagg = off")
        cursor.execute("SET enable_material = off; SET enable_indexscan = off; SET enable_bitmapscan = off")
    assert tasks.STEPS["push"]() == 100 + 1
    connection.close()
    calls = world.microsoft.calls("register_batch")
    assert sorted((call.mobile_app_id, len(call.items)) for call in calls) == sorted(
        [(str(world.app.mobile_app_id), 100), (str(other.app.mobile_app_id), 1)]
    )
