"""The Celery app: `celery -A tokenhub worker`, `celery -A tokenhub beat`. What its processes tell of themselves."""

import logging
import os
from typing import Any

from billiard import pool
from celery import Celery, bootsteps, signals
from structlog.contextvars import bind_contextvars, clear_contextvars

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")

app = Celery("tokenhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

SWEEP = "sync.tasks.sweep"

# A child that ends waits until its parent has read its last result: half a minute of tenths of a second, and for
# nothing where the parent has given that task up, as it does with one that it had just handed over when SIGTERM came.
# Nobody reads our results, so half a second will do.
pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 5

logger = logging.getLogger(__name__)


@signals.setup_logging.connect
def keep_logs(**kwargs: Any) -> None:
    """Django's settings say how logs look; Celery changes nothing about it."""


class MainLoop(bootsteps.StartStopStep):
    """The worker's main loop tells that it goes round: `deploy/run alive` asks for that."""

    requires = ("celery.worker.components:Timer",)

    def start(self, worker: Any) -> None:
        from registry.services import vitals

        vitals.goes_round()
        worker.timer.call_repeatedly(vitals.PERIOD, vitals.goes_round)


app.steps["worker"].add(MainLoop)


@signals.celeryd_after_setup.connect
def worker_starts(instance: Any, **kwargs: Any) -> None:
    """The processes that are forked from this one tell of themselves as it does."""
    from registry.services import vitals

    queues = sorted(instance.app.amqp.queues.consume_from)
    vitals.start(" ".join(["worker", *queues]))


@signals.worker_shutdown.connect
@signals.worker_process_shutdown.connect
def worker_ends(**kwargs: Any) -> None:
    from registry.services import vitals

    vitals.stop()


@signals.beat_init.connect
def beat_starts(**kwargs: Any) -> None:
    from registry.services import vitals

    vitals.start("beat")
    vitals.goes_round()
    logger.info("beat is up")  # of its own it would not say a word for as long as all is well
    signals.after_task_publish.connect(_sweep_was_sent, sender=SWEEP)


def _sweep_was_sent(**kwargs: Any) -> None:
    from registry.services import vitals

    vitals.goes_round()
    vitals.beats(vitals.BEAT)


@signals.task_prerun.connect
def task_begins(task_id: str, task: Any, args: Any, **kwargs: Any) -> None:
    """Every line of a task tells which task it was, and the post whose nudge it came from, if one did."""
    clear_contextvars()
    known = {"task_id": task_id, "task": task.name.rpartition(".")[2], "nudged_by": task.request.get("nudged_by")}
    if args:
        known["step"] = args[0]
    bind_contextvars(**{name: value for name, value in known.items() if value})


@signals.task_postrun.connect
def task_ends(**kwargs: Any) -> None:
    clear_contextvars()
