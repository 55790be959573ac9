"""Flat: what launches, claims and plans cost with 10⁵ devices and with 10⁷, and how large the tables are."""

import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import psycopg

from bench import fleet, load, machine
from bench.load import Load
from bench.machine import Server, Stores
from bench.peers.setup import folder
from tokenhub.embedded import ports

SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "100000,10000000").split(",")]
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
WARM_UP = 25.0  # seconds
PATH = "/api/v1/devices"

type Fleet = tuple[Stores, dict[str, str]]

_unused = itertools.count(int(time.time()) * 1000)  # numbers of phones and tokens that nothing has posted before


@contextmanager
def known(devices: int) -> Iterator[Fleet]:
    """The stores with a fleet of that size, made where it is not there yet and kept, and the keys of its app."""
    kept = folder() / f"fleet-{devices}"
    keys = kept / "keys.json"
    if not keys.exists():
        shutil.rmtree(kept, ignore_errors=True)  # loading it was broken off
    with machine.stores(kept, buffers=machine.QUARTER_OF_MEMORY) as stores:
        if not keys.exists():
            keys.write_text(json.dumps(machine.load_fleet(stores, devices)))
        yield stores, json.loads(keys.read_text())


def measure() -> list[dict[str, object]]:
    """Measure all sizes in turn, so that a mood of the machine meets each; return medians, and the tables' sizes."""
    with ExitStack() as opened:
        fleets = {size: opened.enter_context(known(size)) for size in SIZES}
        taken: dict[tuple[int, str], list[float]] = {}
        for size, name, microseconds in itertools.chain(_launches(fleets), _steps(fleets)):
            taken.setdefault((size, name), []).append(microseconds)
        rows: list[dict[str, object]] = [
            {"devices": size, "name": name, "microseconds": median(times), "lowest": min(times), "highest": max(times)}
            for (size, name), times in taken.items()
        ]
        for size, (stores, _) in fleets.items():
            rows += _sizes(size, stores)
    return rows


def _launches(fleets: Mapping[int, Fleet]) -> Iterator[tuple[int, str, float]]:
    """Wall time for each launch, the load waiting for each answer: with one connection nothing queues."""
    with ExitStack() as opened:
        servers: dict[int, Server] = {}
        for size, (stores, _) in fleets.items():
            port = ports.choose()
            argv = machine.granian(sys.executable, "tokenhub.wsgi:application", port)
            running = machine.server("server", argv, port, stores.environment, stores.folder)
            servers[size] = opened.enter_context(running)
        for name, make in _BODIES.items():
            # The first turn, in which each phone posts once or more, fetches pages and is not told.
            for turn, size in itertools.product(range(ROUNDS + 1), fleets):
                stores, keys = fleets[size]
                headers = {"Content-Type": "application/json", "Authorization": f"Bearer {keys['server']}"}
                seconds = SECONDS if turn else WARM_UP
                wanted = Load(PATH, headers, [json.dumps(body) for body in make(size)])
                run = load.run(wanted, servers[size], stores.folder, seconds=seconds, connections=1)
                if turn:
                    yield size, f"launch: {name}", 1e6 / run.per_second


def _spread(size: int) -> range:
    """Phones all over the table, not a corner of it that is in memory."""
    return range(1, size + 1, max(1, size // 20_000))


_BODIES: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
    "unchanged": lambda size: (fleet.launch(number) for number in _spread(size)[::2]),
    "token changed": lambda size: (fleet.launch(n, generation=next(_unused)) for n in _spread(size)[1::2]),
    "new installation and user": lambda size: (fleet.launch(number) for number in itertools.islice(_unused, 5000)),
}


def _steps(fleets: Mapping[int, Fleet]) -> Iterator[tuple[int, str, float]]:
    """Claims and plans. The first turn, which fetches the pages, is told apart: else it is the disk that is measured,
    where they are too many for the memory."""
    for turn, size in itertools.product(range(ROUNDS + 1), fleets):
        stores, _ = fleets[size]
        for name, microseconds in machine.told_by("bench.scale", str(size), env=stores.environment).items():
            yield size, name if turn else f"{name}, from disk", microseconds


def _sizes(size: int, stores: Stores) -> Iterator[dict[str, object]]:
    with psycopg.connect(stores.database_url) as connection:
        for table in ("mobileuser", "device", "dataversemapping", "registration"):
            row = connection.execute(
                "SELECT pg_table_size(%(t)s::regclass), pg_indexes_size(%(t)s::regclass)", {"t": f"registry_{table}"}
            ).fetchone()
            assert row is not None
            yield {"devices": size, "name": f"bytes: {table}", "heap": row[0] / size, "indexes": row[1] / size}


def steps(size: int) -> dict[str, float]:
    """Microseconds for each row of a full batch: claimed, planned. Runs with Django set up; what is claimed is due."""
    from django.db import connection
    from django.db.models import F

    from registry.models import Device, MobileApp, Registration
    from registry.states import Step
    from sync.outbox import claim
    from sync.steps import plan

    app = MobileApp.objects.get()
    plan_all = plan.run_batch
    while plan_all():
        pass
    taken: dict[str, list[float]] = {"claim for push": [], "plan": []}
    for turn in range(20):
        # Ids all over the table, others at each turn; what this turn prepares is not measured.
        chosen = [number * max(1, size // 501) + turn + 1 for number in range(500)]
        Registration.objects.filter(device_id__in=chosen[:100]).update(
            state="ready", due_at="2000-01-01T00:00Z", in_flight=False, maybe_held=False
        )
        began = time.perf_counter()
        lease = claim(app, Step.PUSH)
        taken["claim for push"].append((time.perf_counter() - began) / 100)
        assert len(lease) == 100, len(lease)
        Registration.objects.filter(pk__in=[row.pk for row in lease.rows]).update(
            state="registered", due_at=None, in_flight=False
        )
        Device.objects.filter(pk__in=chosen).update(revision=F("planned_revision") + 1)
        began = time.perf_counter()
        planned = plan_all()
        taken["plan"].append((time.perf_counter() - began) / 500)
        assert planned == 500, planned
    connection.close()
    return {name: median(times[3:]) * 1e6 for name, times in taken.items()}


def main() -> None:
    """What `_measure` runs in a process of its own."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    import django

    django.setup()
    sys.stdout.write(json.dumps(steps(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
