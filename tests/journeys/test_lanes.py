"""Where much waits a task works in lanes, several batches at once: what holds for processes holds for them."""

import threading
import time
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django import Settings

from registry.crypto import sha256
from registry.models import Pause, Registration
from registry.states import RegistrationState
from sync import tasks
from tests.sandbox_process import World

LANES = 3


@pytest.fixture(autouse=True)
def lanes(settings: Settings) -> None:
    settings.TOKENHUB_WORKER_LANES = LANES


def waiting(world: World, count: int) -> None:
    tokens = [f"token-{number}" for number in range(count)]
    Registration.objects.bulk_create(
        Registration(
            app=world.app,
            table="contact",
            dataverse_id=uuid4(),
            platform="android",
            token=token,
            token_hash=sha256(token),
            due_at=timezone.now(),
        )
        for token in tokens
    )


def work(step: str, seconds: float = 20.0) -> tuple[int, bool]:
    return tasks.work(step, time.monotonic() + seconds)


def test_much_is_worked_on_at_once_and_little_is_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    all_at_once = threading.Barrier(LANES)
    found = iter([tasks.FULL - 1, 0, tasks.FULL])
    threads: list[int] = []

    def a_round() -> int:
        threads.append(threading.get_ident())
        rows = next(found, None)
        if rows is None:
            all_at_once.wait(10)
        return rows or 0

    monkeypatch.setitem(tasks.STEPS, "push", a_round)
    assert work("push") == (tasks.FULL - 1, False)
    assert len(set(threads)) == 1
    assert work("push") == (tasks.FULL, False)
    assert len(set(threads)) == LANES


def test_there_may_be_one_lane(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TOKENHUB_WORKER_LANES = 1
    found = iter([tasks.FULL, tasks.FULL, 1, 0])
    threads: set[int] = set()

    def a_round() -> int:
        threads.add(threading.get_ident())
        return next(found)

    monkeypatch.setitem(tasks.STEPS, "push", a_round)
    assert work("push") == (2 * tasks.FULL + 1, False)
    assert threads == {threading.get_ident()}


def test_all_lanes_end_when_the_time_is_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits behind, an urgent cleanup above all, waits for no backlog."""
    rounds = iter(range(600))

    def a_round() -> int:
        time.sleep(0.01)
        return tasks.FULL if next(rounds, None) is not None else 0

    monkeypatch.setitem(tasks.STEPS, "push", a_round)
    began = time.monotonic()
    assert work("push", 0.3)[1]
    assert time.monotonic() - began < 0.8


def test_each_waiting_row_is_sent_once(world: World) -> None:
    waiting(world, 950)
    assert work("push") == (950, False)
    assert Registration.objects.filter(state=RegistrationState.SENT, attempts=0, claim_no=1).count() == 950
    assert len(world.microsoft.calls("register_batch")) == 10


def test_the_circuit_opens_for_all_lanes(world: World, settings: Settings) -> None:
    world.microsoft.add_fault("register_batch", times=None, status=500)
    waiting(world, 2000)
    work("push")
    calls = len(world.microsoft.calls("register_batch"))
    assert settings.TOKENHUB_CIRCUIT_FAILURES <= calls < settings.TOKENHUB_CIRCUIT_FAILURES + LANES
    assert Pause.objects.get().failures == calls


def test_throttling_stops_all_lanes(world: World) -> None:
    world.microsoft.add_fault("register_batch", times=None, status=429, headers={"Retry-After": "60"})
    waiting(world, 1000)
    work("push")
    assert len(world.microsoft.calls("register_batch")) == 1, "the first round is made alone"
    Registration.objects.update(due_at=timezone.now())
    assert work("push") == (0, False)


def test_lanes_share_the_bucket_of_their_app(world: World, settings: Settings) -> None:
    settings.TOKENHUB_BURST_SECONDS = 4.0
    world.app.requests_per_second = 1
    world.app.save()
    waiting(world, 2000)
    began = time.monotonic()
    work("push", 1.0)
    # The bucket is looked at before a claim, so that each may take the last call.
    allowed = 4 + (time.monotonic() - began) + LANES
    assert 1 <= len(world.microsoft.calls("register_batch")) <= allowed
