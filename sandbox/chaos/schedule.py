"""What is done to the stack, and when: a pure function of the seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

FIRST = 3.0  # seconds: the phones begin undisturbed
# `up` gives a child up that ends 5 times within 60 s.
WINDOW = 60.0
MOST = 3


class Kind(StrEnum):
    """What can be done; the value is for people."""

    WORKER = "worker killed"
    POOL = "worker's child killed"
    WEB = "web server killed"
    BEAT = "beat killed"
    VALKEY_EMPTIED = "Valkey emptied"
    VALKEY_KILLED = "Valkey killed"
    POSTGRES_RESTARTED = "PostgreSQL restarted"
    POSTGRES_KILLED = "PostgreSQL killed"
    FROZEN = "network cut (nothing comes back)"
    DROPPED = "network cut (every connection dropped)"


# Which child of `up` each of them ends. The worker may not survive Valkey: Celery's client of it fails now and then.
ENDS = {
    Kind.WORKER: ("worker",),
    Kind.WEB: ("web",),
    Kind.BEAT: ("beat",),
    Kind.VALKEY_KILLED: ("valkey", "worker"),
    Kind.POSTGRES_RESTARTED: ("postgres",),
    Kind.POSTGRES_KILLED: ("postgres",),
}
CUTS = (Kind.FROZEN, Kind.DROPPED)
# Workers are what runs in greatest number, and ends most often.
DECK = (*Kind, Kind.WORKER, Kind.POOL)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """At `at` seconds from the start; a cut `lasts` so many seconds. `pick` (0 to 1) chooses among equals."""

    at: float
    kind: Kind
    lasts: float = 0.0
    pick: float = 0.0


def plan(seed: int, duration: float) -> list[Disturbance]:
    """The disturbances of this seed within `duration` seconds, in order; in the first minute there is one of each."""
    rng = random.Random(f"chaos {seed}")  # noqa: S311 - to be repeatable is what it is for
    planned: list[Disturbance] = []
    at = FIRST
    for kind in _kinds(rng):
        if at >= duration:
            return planned
        if _too_often(planned, kind, at):
            continue
        # Shorter than a hand-over is patient with what is in the air: see docs/chaos.md.
        lasts = round(rng.uniform(1.5, 3.5), 2) if kind in CUTS else 0.0
        planned.append(Disturbance(at, kind, lasts, round(rng.random(), 3)))
        at = round(at + lasts + rng.uniform(2.5, 6.0), 2)
    return planned


def _kinds(rng: random.Random) -> Iterator[Kind]:
    while True:
        deck = list(DECK)
        rng.shuffle(deck)
        yield from deck


def _too_often(planned: list[Disturbance], kind: Kind, at: float) -> bool:
    recent = [child for done in planned if at - done.at < WINDOW for child in ENDS.get(done.kind, ())]
    return any(recent.count(child) >= MOST for child in ENDS.get(kind, ()))
