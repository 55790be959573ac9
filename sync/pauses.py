"""Rests that every worker keeps, in the database: never slept through, ended by a probe.

A gate is asked before anything is claimed. While a pause lasts nothing of its subject passes; when its time has
come one small request does, however many workers look, and only its success ends the pause. Failures without an answer
are counted in the same row, and open the circuit at the tenth in a row.
"""

import logging
import threading
from collections.abc import Callable, Sized
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from registry.models import DataverseEnvironment, MobileApp, Pause, Registration
from registry.services import clock, history
from registry.services.locking import in_transaction, lock
from registry.states import FailureReason, PauseReason, RegistrationState
from sync import connect
from sync.clients.cij import CijClient
from sync.clients.errors import Denied, NotMade, Refused, RemoteError, Throttled

logger = logging.getLogger(__name__)

Subject = MobileApp | DataverseEnvironment
FOR_CREDENTIALS = (PauseReason.CREDENTIALS, PauseReason.CONFIGURATION)
# Claims that cross share what is left between them, in calls that are not full: lanes of a process take turns.
_claiming = threading.Lock()


@dataclass(frozen=True)
class Gate:
    """What may pass now: `limit` items in one call. `noted` is the pause or the count that there was.

    `probes`: it is a pause whose time has come.
    """

    subject: Subject
    limit: int
    noted: Pause | None = None
    probes: bool = False

    def claim[T: Sized](self, claim: Callable[[int], T]) -> T | None:
        """Have `claim` claim what may pass; None where that is nothing. Of all who would probe one claims anything."""
        if not self.limit:
            return None
        if not self.probes:
            with _claiming:
                return claim(self.limit) or None
        with transaction.atomic():
            claimed = claim(self.limit)
            if claimed and self._takes_turn():
                return claimed
            transaction.set_rollback(True)
        return None

    def _takes_turn(self) -> bool:
        """Taken by whoever moves the time on first. Should this process die another probes after that time."""
        if self.noted is None:
            return False
        until = clock.now() + settings.TOKENHUB_PROBE
        taken = Pause.objects.filter(pk=self.noted.pk, until=self.noted.until).update(until=until) == 1
        self.noted.until = until
        return taken

    def prove(self, client: CijClient) -> RemoteError | None:
        """Where this call probed a pause for credentials: ask the call that checks them, since a 202 proves nothing."""
        if self.noted is None or self.noted.reason not in FOR_CREDENTIALS:
            return None
        try:
            client.check()
        except RemoteError as error:
            return error
        return None

    def heed(self, error: RemoteError | None) -> None:
        """A call failed as a whole, or (None) was answered well. Told after its outcomes are settled."""
        if isinstance(error, NotMade):
            return
        if error is not None:
            rest(self.subject, error, self.noted.until if self.noted and self.probes else None)
        elif self.noted and in_transaction(partial(self._end, self.noted)):
            logger.info("%s resumed", self.subject)

    def _end(self, noted: Pause) -> bool:
        """End what this call has probed; return whether that was a pause. One that was noted meanwhile stays."""
        seen = {"pk": noted.pk, "reason": noted.reason, "failures": noted.failures}
        probed = self.limit == 1 or is_for_losses(noted)
        if not Pause.objects.filter(**seen).delete()[0] or not probed:
            return False
        if noted.reason in FOR_CREDENTIALS and isinstance(self.subject, MobileApp):
            send_again(self.subject)
        return True


def gate(
    subject: Subject, full: int, *, rechecks: bool = False, may_overdraw: Callable[[], bool] = lambda: False
) -> Gate:
    """How much may be claimed for the subject now: everything, one probe, or nothing.

    `may_overdraw` is asked where the app's token bucket is empty: what is urgent waits for no pause of our own making.

    Of lost mappings one record says nothing: they are probed by a whole batch of re-checks, and by nothing else.
    """
    if isinstance(subject, MobileApp) and connect.bucket(subject).is_empty() and not may_overdraw():
        return Gate(subject, 0)
    pause = Pause.objects.filter(_of(subject), platform="").first()
    if pause is None:
        return Gate(subject, full)
    if pause.reason == PauseReason.BY_HAND:
        return Gate(subject, 0, pause)
    if pause.reason == PauseReason.UNAVAILABLE and pause.failures < settings.TOKENHUB_CIRCUIT_FAILURES:
        return Gate(subject, full, pause)
    probe = 1
    if is_for_losses(pause):
        probe = full if rechecks else 0
    return Gate(subject, probe if pause.until <= clock.now() else 0, pause, probes=True)


def rest(subject: Subject, error: RemoteError, probed_until: datetime | None = None) -> None:
    """Note a failed call: pause at once, or count where there was no answer.

    Not of a connection that was replaced meanwhile: it says nothing of the present one. `probed_until`: the time of the
    pause that the call has probed; it has kept other probes away, and asks for no rest.
    """
    if isinstance(subject, MobileApp) and not _is_present(subject):
        return
    pause = in_transaction(lambda: _note(subject, error, probed_until))
    if pause and (pause.reason != PauseReason.UNAVAILABLE or pause.failures >= settings.TOKENHUB_CIRCUIT_FAILURES):
        wait = (pause.until - clock.now()).total_seconds()
        logger.warning("%s paused for %.0f s: %s (%s)", subject, wait, pause.get_reason_display(), error)
    if isinstance(subject, MobileApp) and isinstance(error, Throttled):
        # It is the organisation that is throttled, whichever of its apps was told.
        same = MobileApp.objects.defer("api_token").filter(endpoint=subject.endpoint, org_id=subject.org_id)
        for sibling in same.exclude(pk=subject.pk):
            in_transaction(partial(_note, sibling, error, None))


def _is_present(app: MobileApp) -> bool:
    return MobileApp.objects.filter(pk=app.pk, connection_no=app.connection_no).exists()


def _note(subject: Subject, error: RemoteError, probed_until: datetime | None) -> Pause | None:
    pause = locked(subject)
    reason = _reason(error)
    if pause.reason == PauseReason.BY_HAND:
        return None  # whatever was in the air: it rests already
    now = clock.now()
    earlier = pause.until if pause.pk and pause.until != probed_until else now
    throttled = reason == PauseReason.THROTTLED and pause.reason in FOR_CREDENTIALS
    if is_for_losses(pause) or throttled:
        # Its probe did not come through: what it was to find out is as open as before.
        until = now + _wait(error, reason, pause.failures + 1)
        Pause.objects.filter(pk=pause.pk).update(until=max(until, earlier))
        return None
    if pause.pk and pause.reason != reason:
        if reason == PauseReason.UNAVAILABLE:
            return None  # silence says nothing new of one that is throttled or refuses our credentials
        # Failures of another kind lengthen no rest: a throttled call says nothing of the credentials.
        pause.failures, earlier = 0, now
    pause.failures += 1
    pause.reason, pause.detail = reason, str(error)
    pause.until = max(now + _wait(error, reason, pause.failures), earlier)
    pause.save()
    return pause


def pause_by_hand(app: MobileApp, by: str, note: str = "", platform: str = "") -> None:
    """Until a person resumes it: of a platform register nothing new, of the whole app send nothing to CI-J at all.

    Takes the place of what it rests for now.
    """

    def change() -> None:
        pause = locked(app, platform)
        pause.reason, pause.failures = PauseReason.BY_HAND, 1
        pause.detail = f"by {by}: {note}" if note else f"by {by}"
        pause.created_at = pause.until = clock.now()
        pause.save()

    in_transaction(change)
    logger.warning("%s paused by hand%s", app, f" on {platform}" if platform else "")


def end_for_credentials(app: MobileApp) -> None:
    """The app's credentials are known to be good now: end a pause for them, as its probe would."""
    if Pause.objects.filter(_of(app), platform="", reason__in=FOR_CREDENTIALS).delete()[0]:
        logger.info("%s resumed", app)
        send_again(app)


def rest_for_losses(environment: DataverseEnvironment, detail: str) -> None:
    """A re-check would lose too many mappings: rest until one does not, or until a person accepts it."""
    in_transaction(lambda: _note_losses(environment, detail))
    logger.warning("%s paused: %s (%s)", environment, PauseReason.MAPPINGS_LOST.label, detail)


def _note_losses(environment: DataverseEnvironment, detail: str) -> None:
    pause = locked(environment)
    pause.failures = pause.failures + 1 if is_for_losses(pause) else 1
    pause.reason, pause.detail = PauseReason.MAPPINGS_LOST, detail
    pause.until = clock.now() + probe_after(pause.failures)
    pause.save()


def probe_after(failures: int) -> timedelta:
    """How long to rest after the `failures`-th failure in a row, before one request probes."""
    wait: timedelta = settings.TOKENHUB_PROBE * 2 ** min(failures - 1, 10)
    return min(wait, settings.TOKENHUB_SLOWEST_PROBE)


def is_for_losses(pause: Pause) -> bool:
    return pause.reason == PauseReason.MAPPINGS_LOST


def resume(subject: Subject, by: str = "", platform: str | None = None) -> bool:
    """End the pauses of the subject by hand, all or that of one platform. Returns whether there was one.

    Where it was for lost mappings, that accepts their loss: until a re-check loses few, or all were re-checked once.
    """
    which = _of(subject) if platform is None else _of(subject) & Q(platform=platform)
    with transaction.atomic():
        history.acting(by)
        if isinstance(subject, DataverseEnvironment):
            lost = Pause.objects.filter(_of(subject), reason=PauseReason.MAPPINGS_LOST).exists()
            if lost:
                until = clock.now() + settings.TOKENHUB_MAPPING_RECHECK
                DataverseEnvironment.objects.filter(pk=subject.pk).update(losses_accepted_until=until)
        deleted, _ = Pause.objects.filter(which).delete()
    if deleted:
        logger.info("%s resumed", subject)
    return bool(deleted)


def reopen(app: MobileApp) -> int:
    """Have what failed, or has no outcome yet, sent once more: what was at fault has been mended. Returns how many.

    Not those whose token is too long for CI-J: nothing that an administrator does mends that.
    """
    failed = Registration.objects.filter(app=app, state=RegistrationState.FAILED, desired=True, in_flight=False)
    reopened = failed.exclude(reason=FailureReason.TOKEN_TOO_LONG).update(due_at=Now(), attempts=0)
    return reopened + send_again(app)


def send_again(app: MobileApp) -> int:
    """Have sent again what has no outcome yet, now that the credentials are good. Returns how many registrations.

    With a wrong ApiToken CI-J accepts a registration, stores nothing, and leaves it Pending for ever
    (developer-push-device-registration.md). Where one comes to pass all the same, the second is a DuplicateExists.
    """
    sent = Registration.objects.filter(app=app, state=RegistrationState.SENT, desired=True, in_flight=False)
    # Nobody holds these; the claim for the next send keeps in mind that this one may still be worked off.
    return sent.filter(cleaned_at__isnull=True).update(
        state=RegistrationState.READY, request_id=None, due_at=Now(), claim_no=F("claim_no") + 1
    )


def _of(subject: Subject) -> Q:
    return Q(app=subject) if isinstance(subject, MobileApp) else Q(environment=subject)


def locked(subject: Subject, platform: str = "") -> Pause:
    """The subject's pause, or a new one. Workers fail together: one at a time, one row, one count."""
    lock(f"pause:{type(subject).__name__}:{subject.pk}:{platform}")
    return Pause.objects.filter(_of(subject), platform=platform).first() or _new(subject, platform)


def _new(subject: Subject, platform: str) -> Pause:
    if isinstance(subject, MobileApp):
        return Pause(app=subject, platform=platform, failures=0, reason="")
    return Pause(environment=subject, failures=0, reason="")


def _reason(error: RemoteError) -> PauseReason:
    if isinstance(error, Throttled):
        return PauseReason.THROTTLED
    if isinstance(error, Denied):
        return PauseReason.CREDENTIALS
    return PauseReason.CONFIGURATION if isinstance(error, Refused) else PauseReason.UNAVAILABLE


def _wait(error: RemoteError, reason: PauseReason, failures: int) -> timedelta:
    """How long to rest after the `failures`-th failure in a row for that reason."""
    if isinstance(error, Throttled):
        return timedelta(seconds=error.retry_after)
    wait: timedelta = settings.TOKENHUB_PROBE
    return wait if reason == PauseReason.UNAVAILABLE else probe_after(failures)
