"""What is measured, and on what: stores and servers, pinned to cores so that nothing but the thing measured is there.

The server under test has core 0 for itself. PostgreSQL, Valkey and the load have the others, or all of them together
core 1 where there are two.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tokenhub.embedded import ports
from tokenhub.embedded.postgres import Postgres
from tokenhub.embedded.processes import Store, guarded, spawn, stop, wait_ready
from tokenhub.embedded.state import new_encryption_key
from tokenhub.embedded.valkey import Valkey

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE = "0"
SERVER_THREADS = 4  # as deploy/run has it
PATIENCE = 120.0  # seconds that a post is tried again
OTHER_CORES = f"1-{(os.cpu_count() or 2) - 1}"
# What PostgreSQL's documentation recommends to begin with (shared_buffers).
QUARTER_OF_MEMORY = f"{psutil.virtual_memory().total // 4 // 1024**2}MB"


@dataclass(frozen=True)
class Stores:
    """PostgreSQL and Valkey as `manage.py up` runs them, empty, and the environment that leads tokenhub to them."""

    folder: Path
    environment: Mapping[str, str] = field(repr=False)

    @property
    def database_url(self) -> str:
        return self.environment["DATABASE_URL"]

    @property
    def redis_url(self) -> str:
        return self.environment["REDIS_URL"]


def pinned(argv: Sequence[str], cores: str) -> list[str]:
    """The command, confined to these cores."""
    return ["taskset", "--cpu-list", cores, *argv]


@contextmanager
def stores(kept: Path | None = None, *, buffers: str = Postgres.buffers) -> Iterator[Stores]:
    """Run both; what they held is deleted in the end, or stays in `kept` for the next time. `buffers`: PostgreSQL's."""
    folder = kept or Path(tempfile.mkdtemp(prefix="tokenhub-bench-"))
    given = _secrets(folder)
    postgres = Postgres(folder / "postgres", ports.choose(), given["password"], buffers=buffers)
    valkey = Valkey(folder / "valkey", ports.choose(), given["password"])
    running: list[tuple[Store, subprocess.Popen[bytes]]] = []
    found: list[Store] = [postgres, valkey]
    try:
        for store in found:
            store.prepare(lambda _: None)
            with (folder / f"{store.name}.log").open("wb") as log:
                running.append((store, spawn(pinned(store.argv(), OTHER_CORES), output=log)))
        for store, process in running:
            wait_ready(process, store.ready, name=store.name)
        yield Stores(folder, _environment(folder, postgres.url, valkey.url, given))
    finally:
        for store, process in running:
            stop(process, store.stop_signal, timeout=30)
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)


def _secrets(folder: Path) -> dict[str, str]:
    file = folder / "secrets.json"
    if not file.exists():
        folder.mkdir(exist_ok=True, parents=True)
        made = {"password": secrets.token_urlsafe(), "secret_key": secrets.token_urlsafe(48)}
        file.write_text(json.dumps({**made, "encryption": new_encryption_key()}))
    found: dict[str, str] = json.loads(file.read_text())
    return found


def _environment(folder: Path, database_url: str, redis_url: str, given: Mapping[str, str]) -> dict[str, str]:
    return os.environ | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "TOKENHUB_DATA": str(folder),
        "TOKENHUB_SECRET_KEY": given["secret_key"],
        "TOKENHUB_ENCRYPTION_KEYS": given["encryption"],
        "TOKENHUB_ALLOWED_HOSTS": "127.0.0.1",
        "TOKENHUB_HTTPS": "false",
        # Counted and told in headers as ever, and never reached: all of the load has one address and one key.
        "TOKENHUB_LIMIT_MOBILE_KEY": "1000000000",
        "TOKENHUB_LIMIT_SERVER_KEY": "1000000000",
        "TOKENHUB_LIMIT_ADDRESS": "1000000000",
    }


def load_fleet(stores: Stores, devices: int) -> dict[str, str]:
    """Have bench.fleet migrate and load that many devices, in a process of its own; return the app's keys."""
    keys: dict[str, str] = told_by("bench.fleet", "--devices", str(devices), env=stores.environment, cores=OTHER_CORES)
    return keys


def told_by(module: str, *arguments: str, env: Mapping[str, str], cores: str = SERVER_CORE) -> Any:
    """Run a module in a process of its own, on these cores; return the JSON that it writes to stdout."""
    argv = pinned([sys.executable, "-m", module, *arguments], cores)
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return json.loads(done.stdout)


def spread(name: str, rates: Sequence[float]) -> dict[str, object]:
    """The median of some runs, and how far apart they were."""
    return {"name": name, "per_second": median(rates), "lowest": min(rates), "highest": max(rates)}


def granian(python: Path | str, application: str, port: int, *, interface: str = "wsgi") -> list[str]:
    """granian as tokenhub runs it, with one worker. By ASGI it takes no threads: Django has its own."""
    threads = SERVER_THREADS if interface == "wsgi" else 1
    argv = [str(python), "-m", "granian", "--interface", interface, "--host", "127.0.0.1", "--port", str(port)]
    return [*argv, "--no-ws", "--workers", "1", "--blocking-threads", str(threads), application]


@dataclass(frozen=True)
class Server:
    """A server under test: its address, its process, and where its output is."""

    url: str
    pid: int
    log: Path

    def processor_time(self) -> float:
        """Seconds that it and its children have computed."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes())

    def memory(self) -> int:
        """Bytes of its largest process."""
        return max(process.memory_info().rss for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]


@contextmanager
def server(
    name: str, argv: Sequence[str], port: int, environment: Mapping[str, str], folder: Path, *, cwd: Path = ROOT
) -> Iterator[Server]:
    """Run a server on core 0 until it answers, whatever it answers, and stop it in the end."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = spawn(guarded(pinned(argv, SERVER_CORE)), output=output, env=environment, cwd=cwd)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_ready(process, lambda: _answers(url), name=name)
        yield Server(url, process.pid, log)
    except Exception:
        sys.stderr.write(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        stop(process, signal.SIGTERM, timeout=10)


def posted(url: str, body: Mapping[str, Any], headers: Mapping[str, str], wanted: Container[int]) -> float:
    """Post it until the answer has a wanted status, whatever comes before; return that moment (monotonic seconds)."""
    content = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, json.dumps(body).encode(), content)  # noqa: S310 our own
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 our own
                said: object = answer.status
        except urllib.error.HTTPError as error:
            said = error.code
        except OSError as error:
            said = error
        if said in wanted:
            return time.monotonic()
        if time.monotonic() > ends:
            raise AssertionError(f"{url} answers {said}")
        time.sleep(0.02)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 our own
    except urllib.error.HTTPError:
        return True
    except OSError:
        time.sleep(0.1)
        return False
    return True
