"""SIGTERM: what is in the air is finished, and nothing is lost."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from billiard.pool import Worker
from django.db import transaction

from registry.models import Device, MobileApp, Registration
from registry.services.keys import create_key
from registry.services.locking import lock
from registry.states import Step
from sync import tasks
from sync.outbox import BATCH
from tests.layout import Part, forget_nudges, layout
from tests.sandbox_process import World

pytestmark = pytest.mark.django_db(transaction=True)
HOST = {"Host": "push.example.com"}
ENVIRONMENT = {"TOKENHUB_CIJ_HOST_SUFFIXES": "localhost", "TOKENHUB_DATAVERSE_HOST_SUFFIXES": "localhost"}


def post(client: httpx2.Client, url: str, key: str, number: int) -> httpx2.Response:
    body = {"installation_id": f"phone-{number}", "platform": "android", "token": f"token-{number}"}
    return client.post(f"{url}/api/v1/devices", json=body, headers=HOST | {"Authorization": f"Bearer {key}"})


def until(reached: Callable[[], object], seconds: float = 30.0) -> None:
    ends = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_web_server_answers_what_it_has_begun_and_ends(app: MobileApp, tmp_path: Path) -> None:
    key = create_key(app=app, kind="server")
    with (
        layout(tmp_path, "web-1") as running,
        ThreadPoolExecutor(1) as phone,
        httpx2.Client(trust_env=False, timeout=60) as client,
    ):
        web = running.parts["web-1"]
        assert post(client, web.url, key, 0).status_code == 201  # the connection is kept
        with transaction.atomic():
            lock(f"installation:{app.pk}:phone-1")
            answer = phone.submit(post, client, web.url, key, 1)
            time.sleep(1.0)
            assert web.process is not None
            web.process.send_signal(signal.SIGTERM)
            time.sleep(1.0)
            assert web.process.poll() is None
            assert not answer.done()
        assert answer.result().status_code == 201
        assert web.process.wait(30) == 0
    assert Device.objects.count() == 2


def test_a_worker_settles_what_it_has_sent_and_ends(world: World, tmp_path: Path) -> None:
    forget_nudges()  # that other tests have left
    contacts = {world.contact(emailaddress1=f"u{number}@example.com"): f"t{number}" for number in range(20)}
    for number in range(20):
        user = {"id": f"u{number}", "email": f"u{number}@example.com"}
        world.server.launch(installation_id=f"p{number}", token=f"t{number}", user=user)
    until(lambda: _mapped_and_planned() and Registration.objects.count() == 20)
    world.microsoft.add_fault("register_batch", times=None, answer_delay=2.0)
    environment = ENVIRONMENT | {"SSL_CERT_FILE": world.microsoft.ca_file}
    with layout(tmp_path, "worker", environment=environment) as running:
        worker: Part = running.parts["worker"]
        until(lambda: _nudged() and Registration.objects.filter(in_flight=True).exists())
        assert worker.end() == 0
        # Settled by the worker itself, and not by waiting for its lease.
        assert not Registration.objects.filter(in_flight=True).exists()
        assert Registration.objects.filter(request_id__isnull=False).exists()
    world.microsoft.clear_faults()
    world.work_until(lambda: world.held() == set(contacts.items()))
    registered = [token for call in world.microsoft.calls("register_batch") for _, token in call.items]
    assert len(registered) == len(set(registered)), "something was sent twice"


def test_a_child_that_ends_does_not_wait_long_for_a_result_that_nobody_reads() -> None:
    child = object.__new__(Worker)
    child.on_ready_counter = multiprocessing.Value("i")  # type: ignore[attr-defined]
    began = time.monotonic()
    assert not child._ensure_messages_consumed(completed=1)  # type: ignore[attr-defined]
    assert time.monotonic() - began < 15  # half a second, and half a minute as billiard has it


def test_idle_workers_join_in_where_there_is_more_than_one_batch(world: World, tmp_path: Path) -> None:
    names = [f"u{number}" for number in range(250)]
    world.microsoft.add_records("contacts", [{"emailaddress1": f"{name}@example.com"} for name in names])
    devices = [
        {
            "installation_id": name,
            "platform": "android",
            "token": name,
            "user": {"id": name, "email": f"{name}@example.com"},
        }
        for name in names
    ]
    imported = world.server.post("devices/import", {"devices": devices}).json()
    assert {row["result"] for row in imported["results"]} == {"created"}
    until(lambda: _mapped_and_planned() and Registration.objects.count() == len(names))
    world.microsoft.add_fault("register_batch", times=None, answer_delay=3.0)
    world.microsoft.add_fault("status", times=None, answer_delay=8.0)  # what follows an outcome comes too late
    environment = ENVIRONMENT | {"SSL_CERT_FILE": world.microsoft.ca_file}
    forget_nudges()  # that came of all this
    with layout(tmp_path, "worker", environment=environment):
        tasks.run.apply_async(("push", "no mark"), retry=False)  # once
        until(lambda: Registration.objects.filter(in_flight=True, step=Step.PUSH).count() > BATCH)


def _mapped_and_planned() -> bool:
    for step in ("map", "plan"):
        tasks.STEPS[step]()
    return True


def _nudged() -> bool:
    tasks.run.apply_async(("push", "no mark"), expires=5, retry=False)
    return True
