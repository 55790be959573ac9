"""Bulk: what people have done to many rows at once, a batch of each job in turn.

The rows are changed and the job says how far it came in one transaction, under the job's lock: a worker that is killed
has done nothing of its batch, and the next one goes on from there. Makes no calls: it marks rows, and the other steps
work them off at the pace that they have.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from django.db import DatabaseError
from django.db.models import F, Q
from django.db.models.functions import Now

from registry.api.imports import ERROR, import_rows
from registry.models import BulkError, BulkJob, BulkPart, Device, InteractionEvent, MobileApp, Registration
from registry.ports import announce
from registry.services import bulk_jobs, clock, dead_letters, history
from registry.services.decisions import ask_again
from registry.services.errors import InvalidInput
from registry.services.hygiene import retire
from registry.services.import_files import rows_of
from registry.services.locking import in_transaction
from registry.states import BulkKind, BulkState, FailureReason, RegistrationState, RetiredReason

logger = logging.getLogger(__name__)

BATCH = 500
IMPORT_BATCH = 200  # rows, whose locks are held together
PLANNED_AT_ONCE = 2000  # devices that wait for the planner: hand-overs are planned in between
REST = timedelta(seconds=2)


def run_batch() -> int:
    """Do a batch of the job that waits for longest; return how many rows were looked at."""
    current: list[int] = []
    try:
        return in_transaction(lambda: _work(current))
    except DatabaseError:
        raise  # comes again
    except InvalidInput as error:
        _end(current, f"{error.field} {error.message}")
    except Exception as error:
        logger.exception("bulk job %s", current)
        _end(current, f"{type(error).__name__}: the workers' log says more.")
    return 0


def next_due() -> datetime | None:
    return BulkJob.objects.filter(due_at__isnull=False).order_by("due_at").values_list("due_at", flat=True).first()


def _work(current: list[int]) -> int:
    due = BulkJob.objects.select_for_update(skip_locked=True).filter(due_at__lte=Now()).order_by("due_at")
    job = due.first()
    if job is None:
        return 0
    current[:] = [job.pk]
    kind = BulkKind(job.kind)
    if kind in PLANS and _planner_is_busy():
        BulkJob.objects.filter(pk=job.pk).update(due_at=clock.now() + REST)
        return 0
    history.acting(job.by)
    job.started_at = job.started_at or clock.now()
    job.state = BulkState.RUNNING
    before = job.done
    over = _import(job) if kind == BulkKind.IMPORT else _batch(job, ACTS[kind])
    now = clock.now()
    job.due_at = now
    if over:
        job.state, job.due_at, job.finished_at = BulkState.DONE, None, now
        BulkPart.objects.filter(job=job).delete()
    job.save()
    return job.done - before


def _planner_is_busy() -> bool:
    waiting = Device.objects.filter(revision__gt=F("planned_revision"), planned_revision__gt=0)
    return waiting.values("pk")[:PLANNED_AT_ONCE].count() == PLANNED_AT_ONCE


def _batch(job: BulkJob, act: "Act") -> bool:
    model, choice = bulk_jobs.MODELS[job.model], bulk_jobs.choice_of(job)
    if job.total is None:
        job.total = choice.count(model)
    found = choice.page(model, BATCH, job.position, upwards=True)
    ids = [pk for pk in found if pk <= job.last]
    if ids:
        job.changed += act.change(ids, job.by)
        job.position = ids[-1]
        job.done += len(ids)
        announce(act.followers)
    return len(ids) < BATCH


def _import(job: BulkJob) -> bool:
    app = MobileApp.objects.get(pk=job.app_id or 0)
    rows = list(islice(rows_of(bulk_jobs.file_of(job), job.model, app.slug, job.position, job.line), IMPORT_BATCH))
    good = [row for row in rows if not row.error]
    told = dict(zip([row.line for row in good], import_rows(app, [row.value for row in good]), strict=True))
    errors = []
    for row in rows:
        answer: Mapping[str, object] = told.get(row.line, {"result": ERROR, "errors": [{"detail": row.error}]})
        if answer["result"] == ERROR:
            errors.append(BulkError(job=job, line=row.line, detail=answer["errors"]))
        elif answer["result"] in ("created", "updated"):
            job.changed += 1
    BulkError.objects.bulk_create(errors)
    job.failed += len(errors)
    job.done += len(rows)
    if rows:
        job.position, job.line = rows[-1].next_offset, rows[-1].next_line
    return len(rows) < IMPORT_BATCH


def _end(job: Sequence[int], why: str) -> None:
    BulkPart.objects.filter(job__in=job).delete()
    BulkJob.objects.filter(pk__in=job, state__in=bulk_jobs.OPEN).update(
        state=BulkState.FAILED, due_at=None, finished_at=Now(), detail=why
    )


def _retry(ids: Sequence[int], by: str) -> int:
    failed = Registration.objects.filter(pk__in=ids, state=RegistrationState.FAILED, desired=True, in_flight=False)
    return failed.exclude(reason=FailureReason.TOKEN_TOO_LONG).update(due_at=Now(), attempts=0)


def _check(ids: Sequence[int], by: str) -> int:
    believed = Registration.objects.filter(device__in=ids, desired=True, in_flight=False)
    # What is registered and waits for something waits for an old cleanup to be over.
    registered = Q(state=RegistrationState.REGISTERED, due_at__isnull=True)
    believed.filter(Q(state=RegistrationState.SENT) | registered).update(due_at=Now())
    devices = Device.objects.filter(pk__in=ids, retired_at__isnull=True, user__isnull=False)
    return devices.update(revision=F("revision") + 1)


def _retire(ids: Sequence[int], by: str) -> int:
    return retire(Q(pk__in=ids), RetiredReason.BY_HAND)


def _replay(ids: Sequence[int], by: str) -> int:
    return dead_letters.replay(InteractionEvent.objects.filter(pk__in=ids))


def _discard(ids: Sequence[int], by: str) -> int:
    return dead_letters.discard(InteractionEvent.objects.filter(pk__in=ids))


@dataclass(frozen=True)
class Act:
    """What is done to the rows of these ids for somebody; returns how many changed. `followers` have work then."""

    change: Callable[[Sequence[int], str], int]
    followers: tuple[str, ...]


ACTS: dict[BulkKind, Act] = {
    BulkKind.RETRY: Act(_retry, ("push",)),
    BulkKind.CHECK: Act(_check, ("plan", "confirm", "push")),
    BulkKind.RETIRE: Act(_retire, ("plan",)),
    BulkKind.MAP_AGAIN: Act(ask_again, ("map",)),
    BulkKind.REPLAY: Act(_replay, ("relay",)),
    BulkKind.DISCARD: Act(_discard, ("tally",)),
}
PLANS = (BulkKind.CHECK, BulkKind.RETIRE)  # these leave work to the planner
