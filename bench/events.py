"""A sink that answers as CI-J does, and a worker's process with events to relay to it."""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import fleet, machine
from bench.machine import Stores
from tokenhub.embedded.processes import guarded, spawn, stop

MESSAGES = 20  # that the events are of
PHONE = "f" * 22 + ":APA91b" + "x" * 134


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
