"""`python -m bench.killed [EVENTS [KILLS]]`: how many events are lost, or come twice, when workers are killed.

One worker process relays them to the sink, is killed (SIGKILL) at random moments, and is followed by the next. The sink
notes every request before it answers. What was answered or in the air and not settled when a worker died may come
twice; nothing else, and nothing may be lost.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from bench import machine
from bench.events import World, environment, sink

EVENTS, KILLS = 100_000, 10
LEASE = {"TOKENHUB_LEASE_SECONDS": "6", "TOKENHUB_CALL_DEADLINE_SECONDS": "2"}


def measure(events: int, kills: int) -> dict[str, int]:
    """Run it; how many were relayed, lost, doubled, and unsettled when a worker was killed."""
    with machine.stores() as stores:
        log = stores.folder / "sent"
        with sink(stores.folder, 5, log) as url:
            told = environment(stores, url) | LEASE | {"BENCH_SENT": str(log)}
            arguments = ("run", str(events), str(kills))
            found: dict[str, int] = machine.told_by("bench.killed", *arguments, env=told, cores=machine.OTHER_CORES)
    return found


def _run(events: int, kills: int) -> dict[str, int]:
    """Kill workers so often, evenly over the events, and count."""
    from registry.models import InteractionEvent

    world = World()
    world.report(events, messages=events)
    settled = InteractionEvent.objects.filter(state="relayed")
    moments = sorted(random.sample(range(events // 20, events), kills))
    sent = Path(os.environ["BENCH_SENT"])
    unsettled: set[str] = set()
    died = 0
    worker = _worker()
    while (done := settled.count()) < events:
        assert worker.poll() is None
        if moments and done >= moments[0]:
            moments.pop(0)
            worker.kill()
            worker.wait()
            time.sleep(0.1)  # what is on its way to the sink
            died += 1
            unsettled |= set(_ids(sent)) - {str(found) for found in settled.values_list("tracking_id", flat=True)}
            sys.stderr.write(f"killed {died} times, {done} of {events} relayed\n")
            worker = _worker()
        time.sleep(0.05)
    worker.kill()
    worker.wait()
    ids = Counter(_ids(sent))
    return {
        "events": events,
        "killed": died,
        "sent": ids.total(),
        "lost": events - len(ids),
        "doubled": ids.total() - len(ids),
        "unsettled when a worker was killed": len(unsettled),
        "doubled though settled": len({one for one, times in ids.items() if times > 1} - unsettled),
    }


def _ids(sent: Path) -> list[str]:
    return [json.loads(line)["TrackingId"] for line in sent.read_text().splitlines()]


def _worker() -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "bench.killed", "work"]
    return subprocess.Popen(machine.pinned(argv, machine.SERVER_CORE), cwd=machine.ROOT)


def _work() -> None:
    """Relay as a worker does until somebody kills it."""
    from sync import tasks

    while True:
        if not tasks.STEPS["relay"]():
            time.sleep(0.2)


def main(words: list[str]) -> None:
    if not words or words[0].isdecimal():
        numbers = [int(word) for word in words]
        found = measure(*numbers, *(EVENTS, KILLS)[len(numbers) :])
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        sys.exit(1 if found["lost"] or found["doubled though settled"] else 0)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    import django

    django.setup()
    if words[0] == "work":
        _work()
    else:
        sys.stdout.write(json.dumps(_run(int(words[1]), int(words[2]))))


if __name__ == "__main__":
    main(sys.argv[1:])
