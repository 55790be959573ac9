"""The web server, WSGI or ASGI, and where connections come from: the same application, one worker process, in turn."""

import itertools
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import fleet, load, machine
from bench.launch import PATH, summary
from bench.load import Load, Measured
from bench.machine import ROOT, Stores
from bench.peers.setup import folder, once
from tokenhub.embedded import ports

DEVICES = 20_000
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PINNED = ("gunicorn==27.0.1", "uvloop==0.23.0", "httptools==0.9.0")
SERVERS = folder() / "servers"  # what tokenhub itself does not need


@dataclass(frozen=True)
class Candidate:
    """What is started, and the environment that it needs beside the stores'."""

    name: str
    server: str
    application: str
    environment: dict[str, str] = field(default_factory=dict)


LANE, DJANGO, ASGI = "tokenhub.wsgi:application", "tokenhub.wsgi:django", "bench.apps.asgi:application"
CANDIDATES = (
    Candidate("launch, lane: granian", "granian", LANE),
    Candidate("launch, lane: gunicorn, threads", "gunicorn", LANE),
    Candidate("launch, lane: gunicorn, sync", "gunicorn sync", LANE),
    Candidate("launch, Django: granian, WSGI", "granian", DJANGO),
    Candidate("launch, Django: gunicorn, threads", "gunicorn", DJANGO),
    Candidate("launch, Django: granian, ASGI", "granian asgi", ASGI),
    Candidate("launch, Django: uvicorn, ASGI", "uvicorn", ASGI),
    *(
        Candidate(f"one SELECT, Django: {kind}", "granian", "bench.apps.connections:application", {"BENCH_KIND": kind})
        for kind in ("new connection", "pool", "persistent", "own, prepared")
    ),
)


def measure() -> list[dict[str, object]]:
    """Run all in turn, some rounds, on one database; return each one's median run."""
    target = ("--python", sys.executable, "--target", str(SERVERS))
    once(SERVERS, PINNED, ("uv", "pip", "install", "--quiet", *target, *PINNED))
    found: dict[str, list[Measured]] = {candidate.name: [] for candidate in CANDIDATES}
    with machine.stores() as stores:
        keys = machine.load_fleet(stores, DEVICES)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {keys['server']}"}
        wanted = Load(PATH, headers, [json.dumps(fleet.launch(number)) for number in range(1, 2001)])
        for turn, candidate in itertools.product(range(ROUNDS), CANDIDATES):
            measured = _run(candidate, stores, wanted)
            found[candidate.name].append(measured)
            sys.stderr.write(f"{turn + 1}/{ROUNDS} {candidate.name}: {measured.per_second:.0f}/s\n")
    return [summary(name, runs) for name, runs in found.items()]


def _run(candidate: Candidate, stores: Stores, wanted: Load) -> Measured:
    port = ports.choose()
    environment = {**stores.environment, **candidate.environment, "PYTHONPATH": f"{ROOT}:{SERVERS}"}
    argv = list(_argv(candidate, port))
    with machine.server("server", argv, port, environment, stores.folder) as server:
        load.run(wanted, server, stores.folder, seconds=1)
        return load.run(wanted, server, stores.folder, seconds=SECONDS)


def _argv(candidate: Candidate, port: int) -> Iterator[str]:
    kind, _, how = candidate.server.partition(" ")
    if kind == "granian":
        yield from machine.granian(sys.executable, candidate.application, port, interface=how or "wsgi")
        return
    yield from (sys.executable, "-m", kind)
    if kind == "uvicorn":
        yield from ("--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools")
        yield from ("--no-access-log", "--lifespan", "off", "--workers", "1")
    else:
        yield from ("--bind", f"127.0.0.1:{port}", "--workers", "1", "--keep-alive", "75")
        yield from (
            ("--worker-class", "sync")
            if how
            else ("--worker-class", "gthread", "--threads", str(machine.SERVER_THREADS))
        )
    yield candidate.application
