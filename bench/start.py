"""Start: seconds from `manage.py up` on a folder that has been used before until the first 201, and what the processes
take of memory when all of them are there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from bench import fleet, machine
from tokenhub.embedded import ports
from tokenhub.embedded.processes import guarded, spawn, stop

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PATH = "/api/v1/devices"


def measure() -> list[dict[str, object]]:
    """The first start, which makes everything, and the median of some later ones."""
    folder = Path(tempfile.mkdtemp(prefix="tokenhub-bench-"))
    port = ports.choose()
    try:
        with _up(folder, port) as (began, _):
            first = _answered(port, "", 401) - began
            environment = {**os.environ, "TOKENHUB_DATA": str(folder)}
            key = machine.told_by("bench.start", env=environment)["server"]
        times = []
        for _ in range(ROUNDS):
            with _up(folder, port) as (began, process):
                times.append(_answered(port, key, 201) - began)
                time.sleep(15)  # the others come after the web server, and have to have worked
                memory = _memory(process.pid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [
        {"name": "first start, from an empty folder to the first answer", "seconds": first},
        {"name": "start to the first 201", "seconds": median(times), "lowest": min(times), "highest": max(times)},
        *({"name": f"memory: {name}", "bytes": found} for name, found in sorted(memory.items())),
    ]


@contextmanager
def _up(folder: Path, port: int) -> Iterator[tuple[float, subprocess.Popen[bytes]]]:
    began = time.monotonic()
    argv = [sys.executable, "manage.py", "up", "--data", str(folder), "--port", str(port)]
    with (folder / "up.log").open("wb") as log:
        process = spawn(guarded(argv), output=log, env=os.environ, cwd=machine.ROOT)
    try:
        yield began, process
    finally:
        stop(process, signal.SIGTERM, timeout=60)


def _answered(port: int, key: str, wanted: int) -> float:
    """When a new phone's post was answered so for the first time."""
    body = {**fleet.launch(1), "installation_id": str(uuid.uuid4()), "token": uuid.uuid4().hex}
    return machine.posted(f"http://127.0.0.1:{port}{PATH}", body, {"Authorization": f"Bearer {key}"}, {wanted})


def _memory(pid: int) -> dict[str, int]:
    """The resident bytes of the largest process of each kind; pages that a fork shares are counted for each."""
    found: dict[str, int] = {}
    for process in psutil.Process(pid).children(recursive=True):
        words = process.cmdline()
        kind = next((name for name in ("granian", "beat", "worker") if name in words), "")
        if kind == "worker":
            kind = "urgent worker" if "tokenhub.urgent" in words else "worker"
        if kind:
            found[kind] = max(found.get(kind, 0), process.memory_info().rss)
    return found


def main() -> None:
    """What `measure` runs beside the running stack: an app and its key."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    import django

    django.setup()
    from registry.services.keys import create_key

    sys.stdout.write(json.dumps({"server": create_key(app=fleet.create_shop(), kind="server")}))


if __name__ == "__main__":
    main()
