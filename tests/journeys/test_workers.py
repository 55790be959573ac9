"""Real workers, several processes of each, at the same rows as phones that post; one worker is killed meanwhile."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from registry.models import DataverseMapping, Device, InteractionEvent, Registration
from registry.states import EventState, RegistrationState
from sandbox.chaos.outcome import races
from sandbox.demo.compare import handovers
from sync import tasks
from tests.layout import forget_nudges
from tests.races import in_parallel
from tests.sandbox_process import World
from tokenhub.embedded.processes import guarded, kill_group, spawn, stop, wait_ready

ROOT = Path(__file__).resolve().parents[2]
LEASE = 6  # seconds; what the killed worker has claimed is due again then
ENVIRONMENT = {
    "TOKENHUB_CIJ_HOST_SUFFIXES": "localhost",
    "TOKENHUB_DATAVERSE_HOST_SUFFIXES": "localhost",
    "TOKENHUB_LEASE_SECONDS": str(LEASE),
    "TOKENHUB_CALL_DEADLINE_SECONDS": "4",
    "TOKENHUB_CLEANUP_SETTLING_SECONDS": "0.3",
    "TOKENHUB_CLEANUP_ECHO_SECONDS": "3",
    # Longer than anything here is undecided: nothing is cleaned up early, so nothing may race.
    "TOKENHUB_HANDOVER_PATIENCE_SECONDS": "20",
    "TOKENHUB_EVENT_BATCH": "30",  # so that several workers have some
}
STEPS = ["plan", "map", "push", "confirm", "cleanup", "relay"]  # not `check`: it would mend what this test is to find
PHONES = [f"phone-{number}" for number in range(4)]
TOKENS = [f"token-{number}" for number in range(6)]
USERS = ["anna", "bert", "cleo"]

type Worker = subprocess.Popen[bytes]


@pytest.fixture
def workers(world: World, tmp_path: Path) -> Iterator[list[Worker]]:
    """Three workers on the test's own database and Valkey."""
    forget_nudges()  # that other tests have left
    database = f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{connection.settings_dict['NAME']}"
    env = os.environ | ENVIRONMENT | {"DATABASE_URL": database, "SSL_CERT_FILE": world.microsoft.ca_file}
    command = [sys.executable, "-W", "ignore", "-m", "celery", "--quiet", "-A", "tokenhub", "worker"]
    command += ["--pool", "prefork", "--concurrency", "2", "--loglevel", "INFO"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    started: list[tuple[Worker, Path]] = []
    try:
        for name in ("one", "two", "three"):
            log = tmp_path / f"{name}.log"
            with log.open("wb") as output:
                argv = guarded([*command, "--hostname", f"{name}@%h"])
                env["TOKENHUB_ALIVE_PATH"] = str(tmp_path / f"{name}.alive")
                started.append((spawn(argv, output=output, env=env, cwd=ROOT), log))
        for worker, log in started:
            wait_ready(worker, lambda log=log: " ready." in log.read_text(), name=log.stem)  # type: ignore[misc]
        yield [worker for worker, _ in started]
    finally:
        for worker, log in started:
            worker.terminate()
            print(log.read_text())  # noqa: T201 shown where it fails
        for worker, _ in started:
            stop(worker, signal.SIGTERM, timeout=10)


def nudge_all() -> None:
    """Nudge every step for every worker: the marks that keep nudges apart are passed by."""
    for step in STEPS:
        for _ in range(3):
            tasks.run.apply_async((step, "no mark"), expires=1, retry=False)


def post(world: World, chance: random.Random) -> None:
    """One thing that phones do. All threads do it to the same phones, tokens and users."""
    phone, token, user = chance.choice(PHONES), chance.choice(TOKENS), chance.choice(USERS)

    def launch(token: str, user: str) -> None:
        named = {"id": user, "email": f"{user}@example.com"}
        assert world.server.launch(installation_id=phone, token=token, user=named).status_code in (200, 201)

    what = chance.choice(["launch", "hand over", "there and back", "sign out"])
    if what == "launch":
        launch(token, user)
    elif what == "hand over":
        for owner in chance.sample(USERS, 2):
            launch(token, owner)
    elif what == "there and back":
        other = chance.choice(TOKENS)
        for posted in (token, other, token):
            launch(posted, user)
    else:
        assert world.mobile.post(f"devices/{phone}/sign-out").status_code in (200, 404)


def is_quiet(world: World) -> bool:
    moving = [RegistrationState.READY, RegistrationState.SENT, RegistrationState.RETIRING]
    soon = timezone.now() + timedelta(minutes=1)
    return not (
        Device.objects.exclude(revision=F("planned_revision")).exists()
        or DataverseMapping.objects.filter(due_at__lt=soon).exists()
        or Registration.objects.filter(state__in=moving).exists()
        or Registration.objects.filter(due_at__lt=soon).exists()
        or world.microsoft.summary()["waiting"]
    )


def until(reached: Callable[[], object], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < ends, f"not reached: {list(Registration.objects.values())}"
        nudge_all()
        time.sleep(0.2)


def test_whatever_they_do_at_once_and_whoever_is_killed_cij_holds_what_is_desired(
    world: World, workers: list[Worker], settings: Settings, tmp_path: Path
) -> None:
    mark = tmp_path / "two.alive"  # of a worker that goes on
    os.utime(mark, (0, 0))
    settings.TOKENHUB_SHARED_RETURNS = 1_000_000  # here tokens go to and fro all the time
    contacts = {user: world.contact(emailaddress1=f"{user}@example.com") for user in USERS}
    # Answers that take a while: whoever is killed has something in the air.
    for kind in ("register_batch", "status", "cleanup", "cleanup_batch"):
        world.microsoft.add_fault(kind, times=None, delay=0.2)
    killed = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            try:
                until(lambda: world.held() and Registration.objects.filter(in_flight=True).count() > 1, 30)
                kill_group(workers[0])
            finally:
                killed.set()
            return
        chance = random.Random(number)  # noqa: S311 it says who posts what, and keeps no secret
        while not killed.is_set():
            post(world, chance)
        for _ in range(15):
            post(world, chance)

    assert in_parallel(6, work) == []
    # What the phones say last.
    for number, phone in enumerate(PHONES):
        user = USERS[number % len(USERS)]
        world.server.launch(installation_id=phone, token=TOKENS[number], user={"id": user})
    until(lambda: is_quiet(world), 90)
    assert world.held() == {(contacts[USERS[n % len(USERS)]], TOKENS[n]) for n in range(len(PHONES))}
    assert {world.server.state(phone) for phone in PHONES} == {"registered"}
    effects = world.microsoft.effects()
    assert handovers(effects).violations == []
    assert races(world.microsoft.calls(), effects) == []
    assert workers[0].wait(5) == -signal.SIGKILL
    assert [worker.poll() for worker in workers[1:]] == [None, None]
    until(lambda: mark.stat().st_mtime > 0, 30)


def test_no_event_is_lost_with_a_killed_worker_and_only_what_it_had_not_settled_comes_twice(
    world: World, workers: list[Worker]
) -> None:
    world.server.launch()
    world.microsoft.add_fault("event", times=None, delay=0.1)
    ids = [str(uuid.uuid4()) for _ in range(400)]
    for first in range(0, len(ids), 100):
        events = [
            {"installation_id": "phone-1", "tracking_id": one, "status": "opened"} for one in ids[first : first + 100]
        ]
        assert world.server.post("events", events).status_code == 202
    settled = InteractionEvent.objects.filter(state=EventState.RELAYED)
    until(lambda: settled.count() > 50, 30)
    for worker in workers[:2]:
        kill_group(worker)
    time.sleep(0.5)  # what they had in the air arrives
    had = {event.tracking_id for event in world.microsoft.events()}
    unsettled = had - {str(one) for one in settled.values_list("tracking_id", flat=True)}
    until(lambda: settled.count() == len(ids), 60)
    received = Counter(event.tracking_id for event in world.microsoft.events())
    assert set(received) == set(ids)
    assert {one for one, times in received.items() if times > 1} <= unsettled
