"""The Celery tasks: thin, one a step. Celery carries nudges only; the database is the queue.

A nudge is debounced in Valkey: while one waits to be taken up, others are dropped. The task drops the mark before
it looks for work, so whatever changes afterwards gets a nudge of its own. A lost nudge costs time only: beat sweeps.
"""

import logging
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import redis
from celery import shared_task
from django.conf import settings
from django.db import connection
from kombu.exceptions import OperationalError as BrokerError

from registry.models import (
    AlertMessage,
    ChangeFeed,
    DataverseMapping,
    Erasure,
    InteractionEvent,
    MobileApp,
    Registration,
)
from registry.services import clock, correlation, vitals
from registry.services.valkey import Script, valkey
from registry.states import ErasureState, Step
from sync.outbox import next_due
from sync.steps import (
    bulk,
    census,
    changes,
    check,
    cleanup,
    confirm,
    erase,
    figures,
    hygiene,
    map,  # noqa: A004 named as the step is
    notify,
    plan,
    push,
    recheck,
    relay,
    replace,
    rotate,
    signing_keys,
    tally,
)

logger = logging.getLogger(__name__)

BUDGET = 0.5  # seconds that one task works before it lets others have the process
FULL = 100  # rows of a round, after which there is work for one more process
# The steps that make calls, of which a task works on several batches at once where much waits: while one waits for
# PostgreSQL or Microsoft, the process computes for another. To all that is shared a lane is what another process is.
IN_LANES = frozenset({"map", "push", "confirm", "cleanup"})
# Cleanups of hand-overs go ahead of everything else: the steps that lead to them have a queue, and where it runs a
# worker, of their own.
QUEUE = "tokenhub"
# A journey waits for events: they stand in no line with other steps.
QUEUES = {"plan": "tokenhub.urgent", "cleanup": "tokenhub.urgent", "relay": "tokenhub.events"}
SOON = 60.0  # seconds ahead that a step is nudged for; later work is the sweep's
STALE = 10  # seconds after which a nudge that nobody took up counts as lost
QUIET_AFTER_FAILURE = 5.0

_broker_down_until = 0.0
# Whether the mark is new. It lasts for ARGV[1] seconds.
_mark = Script("return redis.call('SET', KEYS[1], 1, 'NX', 'EX', ARGV[1])")


def nudge(step: str, delay: float = 0.0, *, another: bool = False) -> None:
    """Have a worker look at `step` in `delay` seconds. Never raises: the sweep is the floor.

    `another`: beside whoever goes on with the step, so that one of these may wait as well as one of the others.
    """
    global _broker_down_until  # noqa: PLW0603 one process-wide note that the broker does not answer
    if time.monotonic() < _broker_down_until:
        return
    mark = f"tokenhub:nudge:{step}"
    if another:
        mark += ":another"
    elif delay > 0:  # those of the same half second are one
        mark += f":{int((time.time() + delay) * 2)}"
    try:
        if _mark([mark], [STALE + int(delay)]):
            run.apply_async(
                (step, mark),
                countdown=max(delay, 0.0),
                expires=delay + 300,
                retry=False,
                queue=QUEUES.get(step, QUEUE),
                headers=_origin(),
            )
    except (redis.RedisError, BrokerError) as error:
        _broker_down_until = time.monotonic() + QUIET_AFTER_FAILURE
        logger.warning("nudge lost, the sweep will do: %s", type(error).__name__)


def _origin() -> dict[str, str]:
    """Which post a nudge comes of: of the first only, since those that follow until it is taken up are dropped."""
    correlation_id = correlation.current()
    return {"nudged_by": correlation_id.hex} if correlation_id else {}


def on_work_waiting(sender: Any, steps: Iterable[str], **kwargs: Any) -> None:
    """What registry announces after a commit."""
    for step in steps:
        nudge(step)


@shared_task
def sweep() -> None:
    """Look at every step: the floor under all nudges."""
    vitals.beats(vitals.SWEEP)
    for step in STEPS:
        if step != "hygiene":
            nudge(step)


@shared_task
def tidy() -> None:
    """Hygiene is in no hurry."""
    nudge("hygiene")


@shared_task
def run(step: str, mark: str) -> None:
    """Work on one step until nothing is due or the time is up; then pass the word on."""
    try:
        valkey().delete(mark)
    except redis.RedisError:
        logger.warning("Valkey does not answer; working on")
    worked, more = work(step, time.monotonic() + BUDGET)
    if worked:
        logger.info("%s: %d rows", step, worked)
        for follower in FOLLOWERS[step]:
            nudge(follower)
    if more:
        nudge(step)
    else:
        _nudge_when_due(step, at_least=0.05 if worked else 1.0)


def work(step: str, ends: float) -> tuple[int, bool]:
    """Rounds of a step until one finds nothing or the time is up: how many rows, and whether there may be more."""
    first = STEPS[step]()
    if first < FULL:
        return _go_on(step, ends, first)
    nudge(step, another=True)  # calls take time: whoever is idle joins in, and has the next ones join
    more_lanes = settings.TOKENHUB_WORKER_LANES - 1 if step in IN_LANES else 0
    if not more_lanes:
        return _go_on(step, ends, first)
    with ThreadPoolExecutor(more_lanes) as lanes:
        others = [lanes.submit(copy_context().run, _lane, step, ends) for _ in range(more_lanes)]
        found = [_go_on(step, ends, first), *(other.result() for other in others)]
    return sum(rows for rows, _ in found), any(more for _, more in found)


def _go_on(step: str, ends: float, first: int) -> tuple[int, bool]:
    worked = more = first
    while more and time.monotonic() < ends:
        more = STEPS[step]()
        worked += more
    return worked, more > 0


def _lane(step: str, ends: float) -> tuple[int, bool]:
    try:
        return _go_on(step, ends, STEPS[step]())
    finally:
        connection.close()  # a thread has one of its own


def _nudge_when_due(step: str, at_least: float) -> None:
    due = DUE[step]()
    if due is not None:
        wait = (due - clock.now()).total_seconds()
        if wait < SOON:
            nudge(step, max(wait + 0.05, at_least))


def _each_app(run_batch: Callable[[MobileApp], int]) -> Callable[[], int]:
    """One round over all apps, a batch each: no app waits for another's backlog, or fails with another."""

    def round_of_all() -> int:
        ends = time.monotonic() + BUDGET
        worked = 0
        for pk in MobileApp.objects.order_by("?").values_list("pk", flat=True):
            worked += _run_for(pk, run_batch)
            if time.monotonic() > ends:
                break  # the others have their turn in the next round
        return worked

    return round_of_all


def _run_for(pk: int, run_batch: Callable[[MobileApp], int]) -> int:
    try:
        return run_batch(MobileApp.objects.select_related("dataverse").get(pk=pk))
    except Exception as error:  # noqa: BLE001 one app's unreadable secret or odd row must not stop the others
        # The error's own text may quote values; where it happened says enough.
        where = "".join(traceback.format_tb(error.__traceback__))
        logger.error("app %d: %s: %s\n%s", pk, run_batch.__module__, type(error).__name__, where)  # noqa: TRY400
        return 0


STEPS: dict[str, Callable[[], int]] = {
    "check": check.run_batch,
    "plan": plan.run_batch,
    "map": _each_app(map.run_batch),
    "recheck": _each_app(recheck.run_batch),
    "changes": _each_app(changes.run_batch),
    "push": _each_app(push.run_batch),
    "confirm": _each_app(confirm.run_batch),
    "cleanup": _each_app(cleanup.run_batch),
    "relay": _each_app(relay.run_batch),
    "tally": tally.run_batch,
    "replace": replace.run_batch,
    "erase": erase.run_batch,
    "rotate": _each_app(rotate.run_batch),
    "signing_keys": signing_keys.run_batch,
    "hygiene": hygiene.run_batch,
    "bulk": bulk.run_batch,
    "census": census.run_batch,
    "notify": notify.run_batch,
    "figures": figures.run_batch,
}
FOLLOWERS: dict[str, tuple[str, ...]] = {
    "check": ("plan", "map", "cleanup", "push", "confirm"),
    "plan": ("cleanup", "push"),
    "map": ("plan", "cleanup", "push"),
    "recheck": ("map", "plan"),
    "changes": ("recheck", "map"),
    "push": ("confirm",),
    "confirm": ("cleanup", "push"),
    "cleanup": ("push", "confirm", "erase"),
    "relay": ("tally",),
    "tally": (),
    "replace": ("plan",),
    "erase": (),
    "rotate": ("push", "confirm", "cleanup"),
    "signing_keys": (),
    "hygiene": ("plan",),
    "bulk": (),
    "census": (),
    "notify": (),
    "figures": (),
}
DUE: dict[str, Callable[[], Any]] = {
    "check": check.next_due,
    "plan": lambda: None,
    "map": lambda: next_due(DataverseMapping.objects.all()),
    "recheck": lambda: None,
    "changes": lambda: next_due(ChangeFeed.objects.filter(environment__change_tracking=True)),
    "push": lambda: next_due(Registration.objects.filter(step=Step.PUSH)),
    "confirm": lambda: next_due(Registration.objects.filter(step=Step.CONFIRM)),
    "cleanup": lambda: next_due(Registration.objects.filter(step=Step.CLEANUP)),
    "relay": lambda: next_due(InteractionEvent.objects.all()),
    "tally": lambda: None,
    "replace": replace.next_due,
    "hygiene": lambda: None,
    "bulk": bulk.next_due,
    "rotate": lambda: None,
    "census": lambda: None,
    "notify": lambda: next_due(AlertMessage.objects.all()),
    "figures": lambda: None,
    "signing_keys": signing_keys.next_due,
    "erase": lambda: next_due(Erasure.objects.filter(state=ErasureState.WAITING)),
}
