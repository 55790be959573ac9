"""A pytest plugin: real PostgreSQL and Valkey from the wheels for the whole run, or those that the environment names.

Loaded with `-p tests.stores`. It runs before pytest-django reads the settings, which are made of the environment set
here; the workers of pytest-xdist inherit that environment from their controller.
"""

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tokenhub.embedded import ports
from tokenhub.embedded.postgres import Postgres
from tokenhub.embedded.processes import Store, spawn, stop, wait_ready
from tokenhub.embedded.state import new_encryption_key
from tokenhub.embedded.valkey import Valkey


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests() -> Generator[None]:
    """Come before everybody else who has this hook: pytest-django loads the settings in it."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        _prepare_environment()
    else:
        # Each worker has a Valkey database of its own; database 0 is left to what runs outside of workers.
        os.environ["REDIS_URL"] = f"{os.environ['REDIS_URL'].rsplit('/', 1)[0]}/{int(worker.removeprefix('gw')) + 1}"
    yield


def _prepare_environment() -> None:
    scratch = Path(tempfile.mkdtemp(prefix="tokenhub-tests-"))
    running: list[tuple[Store, subprocess.Popen[bytes]]] = []
    # However the run ends: normally, by Ctrl-C, or by an error in somebody's configuration. What kills Python outright
    # kills the servers too, see `guarded`.
    atexit.register(_clean_up, os.getpid(), running, scratch)
    os.environ["TOKENHUB_DATA"] = str(scratch)
    # Tests change an app and post at once, and all their phones live at one address.
    os.environ["TOKENHUB_KEY_CACHE_SECONDS"] = "0"
    os.environ["TOKENHUB_SECOND_FACTOR"] = "false"  # the tests of it say so
    for limit in ("MOBILE_KEY", "SERVER_KEY", "ADDRESS", "REFUSED"):
        os.environ[f"TOKENHUB_LIMIT_{limit}"] = "0"
    os.environ["TOKENHUB_SECRET_KEY"] = secrets.token_urlsafe(48)
    os.environ["TOKENHUB_ENCRYPTION_KEYS"] = new_encryption_key()
    wanted: dict[str, Store] = {
        "DATABASE_URL": Postgres(scratch / "postgres", ports.choose(), secrets.token_urlsafe(), fast=True),
        "REDIS_URL": Valkey(scratch / "valkey", ports.choose(), secrets.token_urlsafe()),
    }
    for variable, store in wanted.items():
        if variable not in os.environ:
            running.append((store, _start(store, scratch)))
            os.environ[variable] = store.url
    for store, process in running:
        wait_ready(process, store.ready, name=store.name)


def _start(store: Store, scratch: Path) -> subprocess.Popen[bytes]:
    store.prepare(lambda _: None)
    with (scratch / f"{store.name}.log").open("wb") as log:
        return spawn(store.argv(), output=log)


def _clean_up(owner: int, running: list[tuple[Store, subprocess.Popen[bytes]]], scratch: Path) -> None:
    if os.getpid() != owner:
        return  # a fork of the process that started them
    for store, process in running:
        stop(process, store.stop_signal, timeout=5)
    shutil.rmtree(scratch, ignore_errors=True)
