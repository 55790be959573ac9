"""Sync: devices a second from changed to registered by one worker process, against a sandbox that answers at once.

Compared with the naive form (a Celery task for each device, which is looked up, sent, asked for and stored on its own)
and with the HTTP client alone, which makes the same calls with the same batches and stores nothing.
"""

import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine
from bench.machine import Stores
from tokenhub.embedded.processes import guarded, spawn, stop

if TYPE_CHECKING:
    from registry.models import MobileApp

DEVICES = int(os.environ.get("BENCH_DEVICES", "5000"))
NAIVE = 200
CELERY = "naive: a Celery task and a request a device"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


@contextmanager
def sandbox(folder: Path) -> Iterator[Path]:
    """Microsoft's side beside the stores; the file that leads to it."""
    argv = [sys.executable, "-m", "sandbox", "--data", str(folder), "--port", "0"]
    with (folder / "sandbox.log").open("wb") as log:
        process = spawn(guarded(machine.pinned(argv, machine.OTHER_CORES)), output=log, cwd=machine.ROOT)
    try:
        ready = folder / "sandbox.json"
        while not ready.exists():
            assert process.poll() is None, (folder / "sandbox.log").read_text()
            time.sleep(0.05)
        yield ready
    finally:
        stop(process, signal.SIGTERM, timeout=10)


def environment(stores: Stores, ready: Path) -> dict[str, str]:
    """What leads tokenhub to the sandbox, and has it ask for outcomes at once."""
    told = json.loads(ready.read_text())
    return {
        **stores.environment,
        "BENCH_SANDBOX": str(ready),
        "SSL_CERT_FILE": told["ca_file"],
        "TOKENHUB_CIJ_HOST_SUFFIXES": "localhost",
        "TOKENHUB_DATAVERSE_HOST_SUFFIXES": "localhost",
        "TOKENHUB_FIRST_POLL_SECONDS": "0",
        "TOKENHUB_LOG_LEVEL": "WARNING",
    }


def measure() -> list[dict[str, object]]:
    """The three forms in turn, some rounds; medians, and the calls that tokenhub made for each 1,000 devices."""
    with machine.stores() as stores, sandbox(stores.folder) as ready:
        found: list[dict[str, object]] = machine.told_by("bench.sync", env=environment(stores, ready))
    return found


class World:
    """The worker's process: Django, the sandbox's memory, one app."""

    def __init__(self) -> None:
        from django.core.management import call_command

        from registry.services.apps import create_app, create_dataverse
        from sandbox.admin_client import SandboxAdmin

        call_command("migrate", verbosity=0)
        file = Path(os.environ["BENCH_SANDBOX"])
        told = json.loads(file.read_text())
        self.microsoft = SandboxAdmin.from_file(file)
        self.microsoft.settings(processing_delay=0, cleanup_delay=0)
        dataverse = create_dataverse(
            name="sandbox",
            url=self.microsoft.url,
            tenant=told["tenant"],
            client_id=told["client_id"],
            client_secret=told["client_secret"],
            authority=self.microsoft.url,
        )
        self.app: MobileApp = create_app(
            slug="shop",
            name="Shop",
            org_id=uuid.uuid4(),
            mobile_app_id=uuid.uuid4(),
            endpoint=self.microsoft.url,
            api_token="an-api-token",  # noqa: S106
            dataverse=dataverse,
            requests_per_second=1_000_000,
        )
        self.microsoft.put_app(str(self.app.org_id), str(self.app.mobile_app_id), "an-api-token")

    def people(self, count: int) -> list[tuple[str, str]]:
        """Persons whom Dataverse knows and tokenhub does not: an e-mail address and the token of a phone of each."""
        mark = uuid.uuid4().hex[:8]
        emails = [f"user-{mark}-{number}@example.com" for number in range(count)]
        for first in range(0, count, 1000):
            self.microsoft.add_records("contacts", [{"emailaddress1": mail} for mail in emails[first : first + 1000]])
        return [(email, f"f{uuid.uuid4().hex[:21]}:APA91b{uuid.uuid4().hex * 4}") for email in emails]

    def fleet(self, count: int) -> None:
        """Devices of such persons, that wait to be registered."""
        from registry.crypto import sha256
        from registry.models import DataverseMapping, Device, MobileUser
        from registry.services import clock

        people = self.people(count)
        users = MobileUser.objects.bulk_create(
            [MobileUser(app=self.app, external_id=email, email=email) for email, _ in people], batch_size=1000
        )
        now = clock.now()
        DataverseMapping.objects.bulk_create([DataverseMapping(user=user, due_at=now) for user in users], 1000)
        Device.objects.bulk_create(
            [
                Device(
                    app=self.app,
                    installation_id=str(uuid.uuid4()),
                    platform="android",
                    user=user,
                    token=token,
                    token_hash=sha256(token),
                )
                for user, (_, token) in zip(users, people, strict=True)
            ],
            batch_size=1000,
        )


def _by_tokenhub(world: World) -> tuple[float, dict[str, int]]:
    """Work as a worker does, step by step until a step has nothing to do; seconds, and calls by kind."""
    from registry.models import Registration
    from sync import tasks

    world.fleet(DEVICES)
    before = Registration.objects.filter(state="registered").count()
    mark = len(world.microsoft.calls())
    began = time.perf_counter()
    while Registration.objects.filter(state="registered").count() < before + DEVICES:
        for step in ("plan", "map", "plan", "push", "confirm"):
            while tasks.work(step, time.monotonic() + tasks.BUDGET)[1]:
                pass
    took = time.perf_counter() - began
    made: dict[str, int] = {}
    for call in world.microsoft.calls()[mark:]:
        made[call.kind] = made.get(call.kind, 0) + 1
    return took, made


def _by_client_alone(world: World) -> float:
    from sync import connect
    from sync.clients.cij import MAX_BATCH, Pair
    from sync.steps.map import BATCH

    people = world.people(DEVICES)
    dataverse, cij = connect.dataverse(world.app.dataverse), connect.cij(world.app)
    table = connect.tables(world.app.dataverse)["contact"]
    began = time.perf_counter()
    ids: dict[str, uuid.UUID] = {}
    for first in range(0, len(people), BATCH):
        wanted = [email for email, _ in people[first : first + BATCH]]
        ids |= {record.value: record.id for record in dataverse.find(table, table.email_column, wanted)}
    pairs = [Pair(ids[email], "android", token) for email, token in people]
    sent = [cij.register(pairs[first : first + MAX_BATCH]) for first in range(0, len(pairs), MAX_BATCH)]
    told = [outcome for batch in sent for outcome in cij.statuses([one for one in batch if one])]
    took = time.perf_counter() - began
    assert len(told) == DEVICES
    return took


def _by_one(world: World) -> float:
    """A Celery task for each device, by a worker with one process; from the first that was registered to the last."""
    from django.db.models import Max, Min

    from bench import naive
    from registry.models import Device, Registration

    world.fleet(NAIVE)
    devices = list(Device.objects.order_by("-pk").values_list("pk", flat=True)[:NAIVE])
    done = Registration.objects.filter(device__in=devices, registered_at__isnull=False)
    naive.work(naive.register_one, devices, done.count)
    times = done.aggregate(first=Min("registered_at"), last=Max("registered_at"))
    return float((times["last"] - times["first"]).total_seconds())


def main() -> None:
    """What `measure` runs in a process of its own, on the worker's core."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    import django

    django.setup()
    world = World()
    rates: dict[str, list[float]] = {"tokenhub": [], "HTTP client alone": [], CELERY: []}
    calls: dict[str, int] = {}
    for _ in range(ROUNDS):
        took, calls = _by_tokenhub(world)
        rates["tokenhub"].append(DEVICES / took)
        rates["HTTP client alone"].append(DEVICES / _by_client_alone(world))
        rates[CELERY].append(NAIVE / _by_one(world))
        sys.stderr.write(f"{ {name: round(found[-1]) for name, found in rates.items()} }\n")
    rows = [machine.spread(name, found) for name, found in rates.items()]
    rows.append({"name": "calls for 1,000 devices", **{kind: n * 1000 / DEVICES for kind, n in calls.items()}})
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main()
