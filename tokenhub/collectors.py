"""What the processes tell in Valkey, as Prometheus reads it: counts, who lives, the hearts, the last census."""

from collections import Counter
from collections.abc import Iterator

import redis
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from registry.services import counters, vitals
from sync.steps import census
from tokenhub.version import VERSION


class ValkeyCollector(Collector):
    """Without Valkey all that it can say is that Valkey does not answer; what is absent then raises an alert, too."""

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("tokenhub_build_info", "The version that answers this.", labels=["version"])
        build.add_metric([VERSION], 1)
        yield build
        try:
            found = list(_all())
        except redis.RedisError:
            found = []
        yield GaugeMetricFamily("tokenhub_valkey_up", "Whether Valkey answers.", value=float(bool(found)))
        yield from found


def _all() -> Iterator[Metric]:
    yield from _counted(counters.sums())
    yield from _living(vitals.processes())
    hearts = GaugeMetricFamily(
        "tokenhub_heart_age_seconds", "Since beat sent a sweep, and since a worker took one up.", labels=["heart"]
    )
    for heart, age in vitals.hearts().items():
        hearts.add_metric([heart], age)
    yield hearts
    yield from _census(census.last())


def _counted(sums: dict[counters.Key, int]) -> Iterator[Metric]:
    by_name: dict[str, dict[tuple[str, ...], dict[str, int]]] = {}
    for (name, part, *values), amount in sums.items():
        by_name.setdefault(name, {}).setdefault(tuple(values), {})[part] = amount
    for declared in counters.declared.values():
        found = by_name.get(declared.name, {})
        if isinstance(declared, counters.Histogram):
            yield _histogram(declared, found)
        else:
            family = CounterMetricFamily(declared.name, declared.meaning, labels=declared.labels)
            for labels, parts in found.items():
                if len(labels) == len(declared.labels):
                    family.add_metric(labels, parts.get("", 0))
            yield family


def _histogram(declared: counters.Histogram, found: dict[tuple[str, ...], dict[str, int]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(declared.name, declared.meaning, labels=declared.labels)
    for labels, parts in found.items():
        if len(labels) != len(declared.labels):
            continue  # counted by a version with other labels
        below, buckets = 0, []
        for number, bound in enumerate([*(str(bound) for bound in declared.buckets), "+Inf"]):
            below += parts.get(str(number), 0)
            buckets.append((bound, float(below)))
        family.add_metric(labels, buckets, parts.get("sum", 0) / 1_000_000)
    return family


def _living(processes: list[vitals.Process]) -> Iterator[Metric]:
    living = GaugeMetricFamily("tokenhub_processes", "Processes that live.", labels=["role", "version"])
    for (role, version), count in Counter((one.role, one.version) for one in processes).items():
        living.add_metric([role, version], count)
    yield living
    pool = GaugeMetricFamily(
        "tokenhub_db_pool_connections", "Open connections to PostgreSQL.", labels=["role", "state"]
    )
    waiting = GaugeMetricFamily("tokenhub_db_pool_waiting", "Threads that wait for a connection.", labels=["role"])
    for role in sorted({process.role for process in processes}):
        those = [process for process in processes if process.role == role]
        idle = sum(process.pool_idle for process in those)
        pool.add_metric([role, "idle"], idle)
        pool.add_metric([role, "used"], sum(process.pool_size for process in those) - idle)
        pool.add_metric([role, "own"], sum(process.own for process in those))
        waiting.add_metric([role], sum(process.pool_waiting for process in those))
    yield from (pool, waiting)


def _census(taken: census.Census | None) -> Iterator[Metric]:
    registrations = GaugeMetricFamily("tokenhub_registrations", "Registrations by state.", labels=["app", "state"])
    devices = GaugeMetricFamily("tokenhub_devices", "Active devices.", labels=["app"])
    events = GaugeMetricFamily("tokenhub_events", "Events that wait, and dead letters.", labels=["app", "state"])
    parts = GaugeMetricFamily("tokenhub_partitions", "Partitions of a table.", labels=["table"])
    size = GaugeMetricFamily("tokenhub_partitions_bytes", "Their size, with indexes.", labels=["table"])
    rows = GaugeMetricFamily("tokenhub_partitions_rows", "Their rows, as PostgreSQL estimates.", labels=["table"])
    oldest = GaugeMetricFamily("tokenhub_partitions_oldest_seconds", "Since the oldest one began.", labels=["table"])
    age = GaugeMetricFamily("tokenhub_census_age_seconds", "Since registrations and devices were counted last.")
    if taken is not None:
        for app, states in taken.registrations.items():
            for state, count in states.items():
                registrations.add_metric([app, state], count)
        for app, count in taken.devices.items():
            devices.add_metric([app], count)
        for app, states in taken.events.items():
            for state, kept in states.items():
                events.add_metric([app, state], kept)
        for table, sizes in taken.partitions.items():
            parts.add_metric([table], sizes["count"])
            size.add_metric([table], sizes["bytes"])
            rows.add_metric([table], sizes["rows"])
            oldest.add_metric([table], sizes["age"])
        age.add_metric([], taken.age)
    yield from (registrations, devices, events, parts, size, rows, oldest, age)
