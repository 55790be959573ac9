"""After the tables came back from a backup: compare what they say with CI-J, which went on meanwhile, and mend it.

CI-J lists nothing, so it can only be asked by doing. What changed there since the backup was made was done by us:

- What the tables say is *not* to be held may be held again: it is cleaned up once more. That is always safe.
- What they say *is* held may have been cleaned up since, because somebody signed out, opted out or handed the phone on.
  The tables do not know of that any more, and sending it again would bring one user's messages to another's phone. So
  it is sent again when its phone launches, and thereby says who uses it now: the first launch after `started_at` is
  news (registry.services.ingest), whenever the phone was last seen. A tracked registration proves itself:
  Success, or DuplicateExists. Only where CI-J itself came back from a backup is everything to be sent at once.
- What they do not know at all is told by the phones' next launches, too.
- Records may have been merged or deleted: every mapping is looked at again.

Rows are only marked here, in batches, each with how far it has come; the workers do what follows as ever.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from registry.models import DataverseMapping, MobileApp, Reconciliation, Registration
from registry.ports import announce
from registry.services.locking import in_transaction
from registry.states import MappingState, RegistrationState

BATCH = 2000


@dataclass(frozen=True)
class Standing:
    """How far it is. `to_mark`: rows that are not looked at yet; the others are what workers and phones have to do."""

    to_mark: int
    cleanups: int
    cleanups_left: int
    sends: int
    sends_left: int
    waiting_for_phones: int

    @property
    def is_done(self) -> bool:
        """Whether all is done that does not wait for a phone."""
        return not (self.to_mark or self.cleanups_left or self.sends_left)


def begin(app: MobileApp, *, everything: bool = False, resume: bool = False) -> Reconciliation:
    """The app's comparison: a new one, whatever the tables hold of an earlier one, which may be of before a restore.

    `resume`: the one that was begun, if there is one. `everything` asked for later begins anew with the registrations
    alone: what was marked stays so.
    """
    if not resume:
        Reconciliation.objects.filter(app=app).delete()
    run, _ = Reconciliation.objects.get_or_create(app=app, defaults={"everything": everything})
    if everything and not run.everything:
        Reconciliation.objects.filter(app=app).update(everything=True, stage=_REGISTRATIONS, position=0)
    return Reconciliation.objects.get(app=app)


def mark_batch(app: MobileApp) -> bool:
    """Mark the next batch of rows; return whether there are more."""
    return in_transaction(lambda: _mark_batch(app))


def standing(app: MobileApp) -> Standing:
    """How far the app's comparison is."""
    run = Reconciliation.objects.get(app=app)
    rows = Registration.objects.filter(app=app)
    moving = Q(state__in=[RegistrationState.READY, RegistrationState.SENT]) | Q(recheck=True)
    return Standing(
        to_mark=_left(run),
        cleanups=run.cleanups,
        cleanups_left=rows.filter(desired=False).exclude(state=RegistrationState.RETIRED, recheck=False).count(),
        sends=run.sends,
        sends_left=rows.filter(moving, desired=True).count(),
        waiting_for_phones=_believed(run).filter(recheck=False, due_at__isnull=True).count(),
    )


def _mark_batch(app: MobileApp) -> bool:
    run = Reconciliation.objects.select_for_update().get(app=app)
    if run.stage >= len(_STAGES):
        return False
    queue, mark = _STAGES[run.stage]
    ids = list(queue(run).filter(pk__gt=run.position).order_by("pk").values_list("pk", flat=True)[:BATCH])
    if ids:
        mark(run, ids)
        run.position = ids[-1]
    if len(ids) < BATCH:
        run.stage, run.position = run.stage + 1, 0
    run.save()
    return True


def _left(run: Reconciliation) -> int:
    left = 0
    for number, (queue, _) in enumerate(_STAGES[run.stage :]):
        rows = queue(run)
        left += (rows if number else rows.filter(pk__gt=run.position)).count()
    return left


def _mappings(run: Reconciliation) -> QuerySet[DataverseMapping]:
    return DataverseMapping.objects.filter(user__app_id=run.app_id, state=MappingState.MAPPED)


def _recheck(run: Reconciliation, ids: list[int]) -> None:
    DataverseMapping.objects.filter(pk__in=ids, recheck_at__gt=Now()).update(recheck_at=Now())
    announce(["recheck"])


def _over(run: Reconciliation) -> QuerySet[Registration]:
    """What is not to be held, as far as we know, and was not cleaned up since."""
    rows = Registration.objects.filter(app_id=run.app_id, desired=False, recheck=False, in_flight=False)
    # One that was settling when the backup was made is cleaned up, as its row has it; it may have come back since.
    return rows.filter(
        Q(state=RegistrationState.RETIRED, cleaned_at__isnull=True)
        | Q(state__in=[RegistrationState.RETIRED, RegistrationState.RETIRING], cleaned_at__lt=run.started_at)
    )


def _clean_up(run: Reconciliation, ids: list[int]) -> None:
    """The way of an answer that came late: the far end may have acted."""
    run.cleanups += _over(run).filter(pk__in=ids).update(recheck=True, due_at=Now())
    announce(["cleanup"])


def _believed(run: Reconciliation) -> QuerySet[Registration]:
    """What is held, as far as we knew."""
    return Registration.objects.filter(
        app_id=run.app_id, desired=True, state=RegistrationState.REGISTERED, registered_at__lt=run.started_at
    )


def _seen(run: Reconciliation) -> QuerySet[Registration]:
    """What is to be sent again now: of phones that have launched since, or everything."""
    rows = _believed(run).filter(in_flight=False, due_at__isnull=True, recheck=False)
    return rows if run.everything else rows.filter(device__last_seen__gt=run.started_at)


def _send(run: Reconciliation, ids: list[int]) -> None:
    run.sends += _seen(run).filter(pk__in=ids).update(recheck=True, due_at=Now())
    announce(["push"])


_STAGES: list[tuple[Callable[[Reconciliation], QuerySet[Any]], Callable[[Reconciliation, list[int]], None]]] = [
    (_mappings, _recheck),
    (_over, _clean_up),
    (_seen, _send),
]
_REGISTRATIONS = 2
