"""Flat: what launches, claims and plans cost with 10⁵ devices and with 10⁷, and how large the tables are."""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import psycopg

from bench import fleet, load, machine
from bench.load import Load
from bench.machine import Stores
from bench.peers.setup import folder
from tokenhub.embedded import ports

SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "100000,10000000").split(",")]
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PATH = "/api/v1/devices"

_unused = itertools.count(int(time.time()) * 1000)  # numbers of phones and tokens that nothing has posted before


@contextmanager
def known(devices: int) -> Iterator[tuple[Stores, dict[str, str]]]:
    """The stores with a fleet of that size, made where it is not there yet and kept, and the keys of its app."""
    kept = folder() / f"fleet-{devices}"
    keys = kept / "keys.json"
    with machine.stores(kept) as stores:
        if not keys.exists():
            keys.write_text(json.dumps(machine.load_fleet(stores, devices)))
        yield stores, json.loads(keys.read_text())


def measure() -> list[dict[str, object]]:
    """Measure at each size; one after the other, since two such fleets do not fit into memory together."""
    return [row for size in SIZES for row in _measure(size)]


def _measure(size: int) -> Iterator[dict[str, object]]:
    with known(size) as (stores, keys):
        for name, microseconds in _launches(size, stores, keys).items():
            yield {"devices": size, "name": name, "microseconds": microseconds}
        # Told is the second time, with pages in memory: else it is the disk that is measured, where there are too many.
        cold, warm = (machine.told_by("bench.scale", str(size), env=stores.environment) for _ in range(2))
        for name, microseconds in (*((f"{name}, from disk", taken) for name, taken in cold.items()), *warm.items()):
            yield {"devices": size, "name": name, "microseconds": microseconds}
        yield from _sizes(size, stores)


def _launches(size: int, stores: Stores, keys: dict[str, str]) -> dict[str, float]:
    """Wall time for each launch, the load waiting for each answer: with one connection nothing queues."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {keys['server']}"}
    spread = range(1, size + 1, max(1, size // 20_000))  # all over the table, not a corner of it that is in memory

    def unchanged() -> list[str]:
        return [json.dumps(fleet.launch(number)) for number in spread[::2]]

    def changed() -> list[str]:
        return [json.dumps(fleet.launch(number, generation=next(_unused))) for number in spread[1::2]]

    def new() -> list[str]:
        return [json.dumps(fleet.launch(number)) for number in itertools.islice(_unused, 5000)]

    found: dict[str, float] = {}
    port = ports.choose()
    argv = machine.granian(sys.executable, "tokenhub.wsgi:application", port)
    with machine.server("server", argv, port, stores.environment, stores.folder) as server:
        bodies: dict[str, Callable[[], list[str]]] = {
            "launch: unchanged": unchanged,
            "launch: token changed": changed,
            "launch: new installation and user": new,
        }
        for name, make in bodies.items():
            load.run(Load(PATH, headers, make()), server, stores.folder, seconds=10, connections=1)
            runs = [
                load.run(Load(PATH, headers, make()), server, stores.folder, seconds=SECONDS, connections=1)
                for _ in range(ROUNDS)
            ]
            found[name] = median(1e6 / run.per_second for run in runs)
    return found


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
