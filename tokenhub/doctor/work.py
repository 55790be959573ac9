"""Whether the work is done: beat, the workers of each queue, and what waits for too long."""

from collections.abc import Iterator

import redis

from registry.models import MobileApp, secret_columns
from registry.services import clock, vitals
from sync.alerts import open_alerts
from sync.status import oldest_due
from tokenhub.doctor import Finding, Level
from tokenhub.health import silent_after


def living() -> Iterator[Finding]:
    """Who lives, and in which version."""
    try:
        hearts, processes = vitals.hearts(), vitals.processes()
    except redis.RedisError:
        return  # told of by `broker`
    yield _beat(hearts.get(vitals.BEAT))
    for queue, workers in vitals.workers(processes).items():
        if workers:
            yield Finding("workers", Level.OK, f"{workers} processes take from the queue {queue}")
        else:
            name = "urgent" if queue.endswith("urgent") else "worker"
            says, mend = (
                f"nobody takes from the queue {queue}",
                f"Start one: deploy/run {name} (docs/operations.md).",
            )
            yield Finding("workers", Level.ERROR, says, mend)
    versions = sorted({process.version for process in processes})
    if len(versions) > 1:
        says = f"several versions run: {', '.join(versions)}"
        yield Finding("version", Level.WARNING, says, "Fine during an upgrade; else restart what is old.")
    elif versions:
        yield Finding("version", Level.OK, f"{len(processes)} processes, all of version {versions[0]}")


def _beat(age: float | None) -> Finding:
    mend = "Start it: deploy/run beat. One, and only one (docs/operations.md)."
    if age is None:
        return Finding("beat", Level.ERROR, "has not been heard of", mend)
    if age > silent_after():
        return Finding("beat", Level.ERROR, f"is silent for {age:.0f} s", mend)
    return Finding("beat", Level.OK, f"sent a sweep {age:.0f} s ago")


def alerts() -> Iterator[Finding]:
    """What needs a person, and how old the queues are."""
    found = open_alerts()
    for alert in found:
        yield Finding(f"alert {alert.kind}", Level.ERROR, f"{alert.subject}: {alert.what}", alert.to_do)
    now = clock.now()
    ages = {
        f"{step} of {app.slug}": age
        for app in MobileApp.objects.defer(*secret_columns()).order_by("slug")
        for step, age in oldest_due(app, now).items()
        if age is not None
    }
    if not found:
        oldest = max(ages, key=lambda name: ages[name], default=None)
        says = f"the oldest of what is due waits for {ages[oldest]:.0f} s ({oldest})" if oldest else "nothing waits"
        yield Finding("queues", Level.OK, says)
