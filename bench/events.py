"""Events: how many a second one worker process relays, to a sink that answers 202 after 5 ms.

Compared with the naive form (a Celery task and a synchronous request for each event) and with a bare asyncio loop that
only sends, with the same HTTP client and as many requests in the air.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import fleet, machine
from bench.machine import Stores
from tokenhub.embedded.processes import guarded, spawn, stop

EVENTS = int(os.environ.get("BENCH_EVENTS", "5000"))
NAIVE = 300
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
DELAY = 5  # milliseconds
MESSAGES = 20  # that the events are of
PHONE = "f" * 22 + ":APA91b" + "x" * 134


def measure() -> list[dict[str, object]]:
    """The three forms in turn, some rounds; medians, and what the sink answers to a load that only asks."""
    with machine.stores() as stores, sink(stores.folder, DELAY) as url:
        able = _asked(url)
        found: list[dict[str, object]] = machine.told_by("bench.events", env=environment(stores, url))
    return [*found, {"name": "the sink, asked by wrk", "per_second": able}]


@contextmanager
def sink(folder: Path, delay: int, log: Path | None = None) -> Iterator[str]:
    """The compiled server that answers 202; its address."""
    program = folder / "sink"
    subprocess.run([shutil.which("cc") or "cc", "-O2", "-o", program, machine.ROOT / "bench/sink.c"], check=True)
    argv = [str(program), "0", str(delay), *([str(log)] if log else [])]
    output = folder / "sink.log"
    with output.open("wb") as told:
        process = spawn(guarded(machine.pinned(argv, machine.OTHER_CORES)), output=told, cwd=folder)
    try:
        while not output.read_text().strip().isdecimal():
            assert process.poll() is None, output.read_text()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{output.read_text().strip()}"
    finally:
        stop(process, signal.SIGTERM, timeout=10)


def environment(stores: Stores, url: str) -> dict[str, str]:
    return {**stores.environment, "BENCH_SINK": url, "TOKENHUB_LOG_LEVEL": "WARNING"}


def _asked(url: str) -> float:
    """Requests a second that wrk gets answered over 64 connections, from the core that the worker will have."""
    wrk = machine.pinned(["wrk", "-t1", "-c64", "-d3s", url], machine.SERVER_CORE)
    told = subprocess.run(wrk, stdout=subprocess.PIPE, text=True, check=True).stdout
    return float(told.split("Requests/sec:")[1].split()[0])


class World:
    """The worker's process: Django, one app, one phone."""

    def __init__(self) -> None:
        from django.core.management import call_command

        from registry.models import Device, MobileApp
        from registry.services.partitions import maintain_all

        self.url = os.environ["BENCH_SINK"]
        call_command("migrate", verbosity=0)
        maintain_all()
        self.app = fleet.create_shop()
        MobileApp.objects.update(endpoint=self.url)  # no TLS, which would be the same for all
        self.app.refresh_from_db()
        self.device = Device.objects.create(
            app=self.app, installation_id="phone", platform="android", token=PHONE, token_hash=b"x" * 32
        )

    def report(self, count: int, *, due: bool = True, messages: int = MESSAGES) -> None:
        """Events as phones report them, of a few messages."""
        from registry.models import InteractionEvent
        from registry.services import clock

        ids = [uuid.uuid4() for _ in range(messages)]
        now = clock.now()
        InteractionEvent.objects.bulk_create(
            [
                InteractionEvent(
                    app=self.app,
                    device=self.device,
                    token=PHONE,
                    tracking_id=ids[number % messages],
                    status="opened",
                    occurred_at=now,
                    due_at=now if due else None,
                )
                for number in range(count)
            ],
            batch_size=2000,
        )


def _by_tokenhub(world: World) -> float:
    """Work as a worker does, the sums included."""
    from sync import tasks

    world.report(EVENTS)
    began = time.perf_counter()
    for step in ("relay", "tally"):
        while tasks.STEPS[step]():
            pass
    return time.perf_counter() - began


def _by_loop(world: World) -> float:
    import httpx2
    from django.conf import settings

    url = f"{world.url}/api/v1.0/orgs/{world.app.org_id}/pushdatareceiver/events"
    waiting = iter(range(EVENTS))

    async def send() -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
        async with httpx2.AsyncClient(timeout=None, limits=limits) as client:

            async def lane() -> None:
                for _ in waiting:
                    body = {"TrackingId": str(uuid.uuid4()), "DeviceToken": PHONE, "PushNotificationStatus": 1}
                    answer = await client.post(url, json=body)
                    assert answer.status_code == 202

            await asyncio.gather(*(lane() for _ in range(settings.TOKENHUB_EVENT_CONCURRENCY)))

    began = time.perf_counter()
    asyncio.run(send())
    return time.perf_counter() - began


def _by_one(world: World) -> float:
    """A Celery task for each event, by a worker with one process; from the first that was relayed to the last."""
    from django.db.models import Max, Min

    from bench import naive
    from registry.models import InteractionEvent

    world.report(NAIVE, due=False)
    mine = InteractionEvent.objects.order_by("-pk")[:NAIVE]
    events = list(mine.values_list("pk", flat=True))
    done = InteractionEvent.objects.filter(pk__in=events, relayed_at__isnull=False)
    naive.work(naive.relay_one, events, done.count)
    times = done.aggregate(first=Min("relayed_at"), last=Max("relayed_at"))
    return float((times["last"] - times["first"]).total_seconds())


def main() -> None:
    """What `measure` runs in a process of its own, on the worker's core."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    import django

    django.setup()
    world = World()
    rates: dict[str, list[float]] = {"tokenhub": [], "bare asyncio loop": [], "naive": []}
    for _ in range(ROUNDS):
        rates["tokenhub"].append(EVENTS / _by_tokenhub(world))
        rates["bare asyncio loop"].append(EVENTS / _by_loop(world))
        rates["naive"].append(NAIVE / _by_one(world))
        sys.stderr.write(f"{ {name: round(found[-1]) for name, found in rates.items()} }\n")
    sys.stdout.write(json.dumps([machine.spread(name, found) for name, found in rates.items()]))


if __name__ == "__main__":
    main()
