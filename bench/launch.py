"""Launches: what a post costs, beside the peers and beside what Python can do at most."""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import cast

import jwt
import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench import fleet, load, machine
from bench.load import Load, Measured
from bench.machine import Stores
from bench.peers import parse, setup
from tokenhub.embedded import ports

DEVICES = int(os.environ.get("BENCH_DEVICES", "100000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
PATH = "/api/v1/devices"
TOKENHUB = "tokenhub.wsgi:application"
LIBRARIES = "bench.peers.django_libraries:application"
PARSE = "parse-server"
PACED_CONNECTIONS = 32
MANY = 11_000  # more than the user tokens that a process remembers

_unused = itertools.count(DEVICES + 1)  # phones and tokens that no run has posted before


@dataclass(frozen=True)
class Candidate:
    """A server and the load for it, made anew for each run. `written` is a query for how much it has written."""

    name: str
    application: str
    load: Callable[[], Load]
    written: str = ""
    paced: bool = False  # to be measured at 70 % of the load that it can take, too


def measure() -> list[dict[str, object]]:
    """Run all candidates in turn, some rounds, on one database; return each one's median run."""
    setup.install()
    parse.install()
    with machine.stores() as stores:
        candidates = list(_candidates(_prepare(stores)))
        found: dict[str, list[Measured]] = {candidate.name: [] for candidate in candidates}
        for turn in range(ROUNDS):
            for candidate in candidates:
                measured = _run(candidate, stores, found)
                found[candidate.name].append(measured)
                _say(f"{turn + 1}/{ROUNDS} {candidate.name}: {measured.per_second:.0f}/s, {measured.cpu:.0f} µs")
    return [summary(name, runs) for name, runs in found.items()]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def summary(name: str, runs: list[Measured]) -> dict[str, object]:
    """The medians of some runs, and how far apart they were."""
    return {
        **machine.spread(name, [run.per_second for run in runs]),
        "cpu": median(run.cpu for run in runs),
        "p50": median(run.p50 for run in runs),
        "p99": median(run.p99 for run in runs),
    }


def _prepare(stores: Stores) -> dict[str, str]:
    keys = machine.load_fleet(stores, DEVICES)
    with psycopg.connect(stores.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE bench_device (id bigserial PRIMARY KEY, installation_id varchar(128) UNIQUE,"
            " token varchar(300), writes bigint DEFAULT 0, last_seen timestamptz DEFAULT now())"
        )
        connection.execute(
            "INSERT INTO bench_device (installation_id, token) SELECT installation_id, token FROM registry_device"
        )
        connection.execute("CREATE SCHEMA peers")
        peers = setup.prepare(stores, DEVICES)
        parse.prepare(stores)
        connection.execute("VACUUM ANALYZE")
    return {**keys, "peers": peers}


def _run(candidate: Candidate, stores: Stores, found: dict[str, list[Measured]]) -> Measured:
    port = ports.choose()
    argv, environment = _server(candidate.application, port, stores)
    with machine.server("server", argv, port, environment, stores.folder) as server:
        wanted = candidate.load()
        warm_up = Load(wanted.path, wanted.headers, wanted.bodies[:500], wanted.method)
        load.run(warm_up, server, stores.folder, seconds=1)
        rest = Load(wanted.path, wanted.headers, wanted.bodies[500:] or wanted.bodies, wanted.method)
        before = _count(stores, candidate.written)
        measured = load.run(rest, server, stores.folder, seconds=SECONDS)
        if candidate.written:
            written = _count(stores, candidate.written) - before
            # Those in the air at the end were written and not answered any more.
            if not measured.requests <= written <= measured.requests + 16:
                raise AssertionError(f"{candidate.name}: {measured.requests} answers and {written} rows written")
        if candidate.paced:
            pause = PACED_CONNECTIONS / (0.7 * measured.per_second) * 1000
            paced = load.run(rest, server, stores.folder, seconds=SECONDS, connections=PACED_CONNECTIONS, pause=pause)
            found.setdefault(f"{candidate.name}, at 70 % load", []).append(paced)
    return measured


def _server(application: str, port: int, stores: Stores) -> tuple[list[str], Mapping[str, str]]:
    if application == PARSE:
        return parse.argv(port), parse.environment(stores)
    if application == LIBRARIES:
        return machine.granian(setup.PYTHON, application, port), setup.environment(stores)
    return machine.granian(sys.executable, application, port), stores.environment


def _count(stores: Stores, query: str) -> int:
    if not query:
        return 0
    with psycopg.connect(stores.database_url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0


def _candidates(keys: dict[str, str]) -> Iterator[Candidate]:
    plain = {"Content-Type": "application/json"}
    server = {**plain, "Authorization": f"Bearer {keys['server']}"}
    mobile = {**plain, "Authorization": f"Bearer {keys['mobile']}"}
    peers = {**plain, "Authorization": f"Token {keys['peers']}"}
    known = range(1, 2001)
    others = range(DEVICES // 2, DEVICES // 2 + 25_000)  # whose tokens change

    def launches(headers: dict[str, str]) -> Callable[[], Load]:
        bodies = [json.dumps(fleet.launch(number)) for number in known]
        return lambda: Load(PATH, headers, bodies)

    def changed(headers: dict[str, str]) -> Callable[[], Load]:
        return lambda: Load(PATH, headers, [json.dumps(fleet.launch(n, generation=next(_unused))) for n in others])

    def library(path: str, **fields: str) -> tuple[Callable[[], Load], Callable[[], Load]]:
        def bodies(numbers: Iterator[int]) -> list[str]:
            return [json.dumps({"registration_id": fleet.token(number), **fields}) for number in numbers]

        new = lambda: Load(path, peers, bodies(itertools.islice(_unused, 6000)))  # noqa: E731
        return lambda: Load(path, peers, bodies(iter(known))), new

    few, many = _signed(keys, 1000), _signed(keys, MANY)
    fcm, fcm_new = library("/fcm/", type="android")
    gcm, gcm_new = library("/gcm/", cloud_message_type="FCM")
    yield Candidate("tokenhub: unchanged", TOKENHUB, launches(server), paced=True)
    yield Candidate("raw WSGI: one prepared SELECT", "bench.apps.raw:select", launches(plain), paced=True)
    yield Candidate("tokenhub: unchanged, JWT met before", TOKENHUB, lambda: Load(PATH, mobile, few))
    yield Candidate("tokenhub: unchanged, JWT not met before", TOKENHUB, lambda: Load(PATH, mobile, many))
    yield Candidate("bare Django view", "bench.apps.bare:application", launches(plain))
    yield Candidate("fcm-django 3.2: unchanged", LIBRARIES, fcm)
    yield Candidate("django-push-notifications 3.3: unchanged", LIBRARIES, gcm)
    yield Candidate(
        "parse-server 9.10: unchanged",
        PARSE,
        lambda: Load(parse.PATH, parse.HEADERS, [json.dumps(parse.body(number)) for number in known]),
    )
    yield Candidate("tokenhub: token changed", TOKENHUB, changed(server), "SELECT sum(revision) FROM registry_device")
    yield Candidate(
        "raw WSGI: one upsert", "bench.apps.raw:upsert", changed(plain), "SELECT sum(writes) FROM bench_device"
    )
    yield Candidate(
        "tokenhub: new install",
        TOKENHUB,
        lambda: Load(PATH, server, [json.dumps(fleet.launch(n)) for n in itertools.islice(_unused, 25_000)]),
        "SELECT count(*) FROM registry_device",
    )
    yield Candidate(
        "fcm-django 3.2: new install", LIBRARIES, fcm_new, "SELECT count(*) FROM peers.fcm_django_fcmdevice"
    )
    yield Candidate(
        "django-push-notifications 3.3: new install",
        LIBRARIES,
        gcm_new,
        "SELECT count(*) FROM peers.push_notifications_gcmdevice",
    )
    yield Candidate(
        "parse-server 9.10: new install",
        PARSE,
        lambda: Load(parse.PATH, parse.HEADERS, [json.dumps(parse.body(n)) for n in itertools.islice(_unused, 25_000)]),
        parse.WRITTEN,
    )


def _signed(keys: dict[str, str], count: int) -> list[str]:
    """Launches of so many phones, each with a token of its own."""
    key = cast(rsa.RSAPrivateKey, serialization.load_pem_private_key(keys["signing_key"].encode(), None))
    bodies = []
    for number in range(1, count + 1):
        issued_at = int(keys["issued_at"])
        claims = {**fleet.ISSUER, "sub": f"user-{number}", "exp": int(time.time()) + 7200, "iat": issued_at}
        signed = jwt.encode(claims, key, algorithm="RS256")
        bodies.append(json.dumps({**fleet.launch(number), "user": {"token": signed}}))
    return bodies
