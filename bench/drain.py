"""A million registrations that wait are sent by one worker process, while now and then one cleanup arrives that waits
for nobody: how fast, with how much memory, and how soon the cleanups are sent.

The worker and the urgent worker are Celery's, started as `deploy/run` starts them, with one process each.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

import psutil

from bench import fleet, machine
from bench.sync import environment, sandbox
from tokenhub.embedded.processes import guarded, spawn, stop

if TYPE_CHECKING:
    from registry.models import MobileApp, Registration

WAITING = int(os.environ.get("BENCH_WAITING", "1000000"))
LONGEST = float(os.environ.get("BENCH_DRAIN_SECONDS", "3600"))
EACH = 10.0  # seconds between two hand-overs


def measure() -> list[dict[str, object]]:
    """Devices a second, the worker's memory, and the urgent cleanups' times; a line of the drain every ten seconds."""
    with machine.stores() as stores, sandbox(stores.folder) as ready:
        env = environment(stores, ready)
        machine.load_fleet(stores, WAITING)
        found: list[dict[str, object]] = machine.told_by("bench.drain", env=env, cores=machine.OTHER_CORES)
    return found


@contextmanager
def _worker(name: str) -> Iterator[psutil.Process]:
    argv = ["deploy/run", name, "--concurrency", "1", "--loglevel", "WARNING"]
    process = spawn(guarded(machine.pinned(argv, machine.SERVER_CORE)), output=sys.stderr.fileno(), cwd=machine.ROOT)
    try:
        yield psutil.Process(process.pid)
    finally:
        stop(process, signal.SIGTERM, timeout=60)


def _prepare() -> "MobileApp":
    """Have all devices of the fleet wait for the sandbox."""
    from django.db import connection

    from registry.models import MobileApp
    from sandbox.admin_client import SandboxAdmin

    app = MobileApp.objects.get()
    with SandboxAdmin.from_file(os.environ["BENCH_SANDBOX"]) as microsoft:
        microsoft.settings(processing_delay=0, cleanup_delay=0)
        microsoft.put_app(str(app.org_id), str(app.mobile_app_id), "an-api-token")
        MobileApp.objects.update(endpoint=microsoft.url, requests_per_second=1_000_000)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE registry_registration SET state = 'ready', due_at = now(), registered_at = NULL, maybe_held = false"
        )
        cursor.execute("VACUUM ANALYZE registry_registration")
    return app


def _drain(app: "MobileApp") -> list[dict[str, object]]:
    from registry.models import Registration

    done = Registration.objects.filter(state="registered")
    urgent: list[float] = []
    told: list[dict[str, object]] = []
    with _worker("worker") as worker, _worker("urgent"):
        from sync.tasks import nudge

        nudge("push")
        began = time.monotonic()
        while (seconds := time.monotonic() - began) < LONGEST:
            time.sleep(EACH)
            count = done.count()
            memory = max(process.memory_info().rss for process in worker.children(recursive=True))
            told.append({"name": "drain", "seconds": seconds + EACH, "registered": count, "bytes": memory})
            sys.stderr.write(f"{seconds:.0f} s: {count:,} registered, {memory / 1e6:.0f} MB, urgent {urgent[-1:]}\n")
            if count + len(urgent) >= WAITING:
                break
            if count:
                urgent.append(_hand_over(app, done.earliest("pk")))
    took = time.monotonic() - began
    return [
        {"name": "drain, one worker", "per_second": count / took, "registered": count, "waiting": WAITING},
        {"name": "urgent cleanups", "count": len(urgent), "seconds": median(urgent), "highest": max(urgent)},
        *told,
    ]


def _hand_over(app: "MobileApp", held: "Registration") -> float:
    """Somebody else signs in on a phone that is registered; seconds until CI-J has accepted the cleanup."""
    from registry.models import Registration
    from registry.services.ingest import INFO_FIELDS, Launch, LaunchUser, record_launch

    number = held.device_id or 0
    said = fleet.launch(number)
    other = LaunchUser(f"user-{number % WAITING + 1}", {})
    launch = Launch(
        said["installation_id"], said["platform"], said["token"], other,
        info={name: said[name] for name in INFO_FIELDS if name in said},
    )  # fmt: skip
    began = time.monotonic()
    record_launch(app, launch)
    while Registration.objects.filter(pk=held.pk, cleaned_at=None).exists():
        if time.monotonic() - began > 60:
            raise AssertionError("a cleanup was not sent within a minute")
        time.sleep(0.01)
    return time.monotonic() - began


def main() -> None:
    """What `measure` runs in a process of its own."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    import django

    django.setup()
    sys.stdout.write(json.dumps(_drain(_prepare())))


if __name__ == "__main__":
    main()
