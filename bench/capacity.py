"""How large an installation must be: `python -m bench.capacity` writes the tables of docs/scaling.md.

`need` is the model: a few multiplications of constants that were measured (`make bench`). `simulate` checks it: a day,
minute by minute, with the hours in which people use their phones, a bucket for the calls of each app, workers that can
do so much and no more, and what waits. Both begin with the same day and must agree: tests/test_capacity.py.
"""

import math
from dataclasses import dataclass

# Measured with `make bench` (docs/performance.md) on two cores of a busy machine: beware of taking them for limits.
REPEAT = 0.0009  # seconds of a core for a launch that changes nothing
CHANGE = 0.009  # for one that does: half the lane's (0.003, renewed tokens and new phones), half Django's (0.015)
WORKER = 400.0  # devices a second and process, from the plan to REGISTERED
ROW_BYTES = 261 + 700 + 188 + 773  # user, device, mapping, registration: heap and indexes
CALLS = {"query": 3.5, "register": 10.0, "status": 10.0, "cleanup": 10.0}  # for each 1,000 devices
# Assumed of people. Put in your own.
LAUNCHES_A_DAY = 2.0  # of a device
CHANGED = 0.01  # of the launches: a new phone, token or user
SEEN = 0.5  # of the launches write when the device was last seen: once in six hours
HALF = 0.5  # how busy a core or a process may be at the busiest minute
# Of an app: our own limit. CI-J documents none (docs/settings.md).
CALLS_A_SECOND = 20.0
# Dataverse's, for each application user and web server: 6,000 requests in 5 minutes.
QUERIES_A_SECOND = 20.0
# Of a day's launches, those of each hour, in per mille: nights are quiet, evenings are not.
HOURS = (12, 8, 5, 4, 5, 12, 28, 48, 54, 50, 47, 48, 55, 52, 47, 46, 50, 58, 66, 74, 80, 72, 50, 29)
MINUTE = 60.0


@dataclass(frozen=True)
class Need:
    """What an installation of so many launches a day needs."""

    launches: float
    devices: float
    peak: float  # launches a second in the busiest hour
    web_cores: int
    writes: float  # rows a second at the peak
    gigabytes: float
    calls: float  # a second at the peak, to CI-J
    queries: float  # a second at the peak, to Dataverse
    apps: int  # buckets of CALLS_A_SECOND that this fills: organisations, or a higher requests_per_second
    workers: int  # processes


def need(launches: float) -> Need:
    """The model."""
    devices = launches / LAUNCHES_A_DAY
    peak = launches * max(HOURS) / sum(HOURS) / 3600
    changes = peak * CHANGED
    calls = changes * (CALLS["register"] + CALLS["status"] + CALLS["cleanup"]) / 1000
    return Need(
        launches=launches,
        devices=devices,
        peak=peak,
        web_cores=max(1, math.ceil(((peak - changes) * REPEAT + changes * CHANGE) / HALF)),
        writes=peak * SEEN + changes * 8,
        gigabytes=devices * ROW_BYTES / 1e9,
        calls=calls,
        queries=changes * CALLS["query"] / 1000,
        apps=max(1, math.ceil(calls / CALLS_A_SECOND)),
        workers=max(1, math.ceil(changes / WORKER / HALF)),
    )


@dataclass
class Day:
    """What a simulated day was like. Seconds where not said otherwise."""

    registered: float = 0.0  # devices
    busiest_core: float = 0.0  # share of a core's time, at the busiest minute
    waiting: float = 0.0  # the most devices that waited
    longest: float = 0.0  # the longest that one waited
    over_after: float = 0.0  # when nothing that was there at midnight waited any more


def simulate(size: Need, *, backlog: float = 0.0) -> Day:
    """A day with an installation of that size; `backlog`: devices that wait at midnight, after an import, say."""
    day, waiting, bucket = Day(), backlog, 0.0
    by_worker = size.workers * WORKER * MINUTE
    by_calls = CALLS_A_SECOND * size.apps * MINUTE
    per_device = (CALLS["register"] + CALLS["status"] + CALLS["cleanup"]) / 1000
    for minute in range(24 * 60):
        share = HOURS[minute // 60] / sum(HOURS) / 60
        launches = size.launches * share
        changed = launches * CHANGED
        busy = ((launches - changed) * REPEAT + changed * CHANGE) / (size.web_cores * MINUTE)
        day.busiest_core = max(day.busiest_core, busy)
        bucket = min(bucket + by_calls, 2 * by_calls)
        waiting += changed
        done = min(waiting, by_worker, bucket / per_device, QUERIES_A_SECOND * MINUTE * 1000 / CALLS["query"])
        waiting -= done
        bucket -= done * per_device
        day.registered += done
        day.waiting = max(day.waiting, waiting)
        day.longest = max(day.longest, waiting / done * MINUTE if done else 0.0)
        if backlog and not day.over_after and day.registered >= backlog:
            day.over_after = (minute + 1) * MINUTE
    return day


def table() -> str:
    """The tables, in Markdown."""
    lines = [
        "| Launches a day | Devices | Peak/s | Web cores | Rows written/s | Tables | CI-J calls/s "
        "| Dataverse queries/s | Workers | All registered anew in |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for exponent in range(5, 9):
        size = need(10.0**exponent)
        anew = simulate(size, backlog=size.devices)
        over = f"{anew.over_after / 3600:,.1f} h" if anew.over_after else "more than a day"
        lines.append(
            f"| {size.launches:,.0f} | {size.devices:,.0f} | {size.peak:,.0f} | {size.web_cores} | {size.writes:,.0f} "
            f"| {size.gigabytes:,.1f} GB | {size.calls:,.2f} | {size.queries:,.2f} | {size.workers} | {over} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
