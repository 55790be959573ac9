"""Work on many rows: who may have what done to which, started, stopped, and a file kept until it is imported.

Workers do it (sync.steps.bulk). What is chosen is chosen when it starts: rows that come later are not meant.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from django.db.models import Max, Model
from django.db.models.functions import Now

from registry.models import (
    BulkJob,
    BulkPart,
    DataverseMapping,
    Device,
    InteractionEvent,
    MobileApp,
    MobileUser,
    Registration,
)
from registry.ports import announce
from registry.services.audit import record
from registry.services.errors import InvalidInput
from registry.services.import_files import rows_of
from registry.services.lists import Choice
from registry.services.locking import in_transaction
from registry.states import BulkKind, BulkState

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PART = 1024 * 1024  # bytes
LARGEST = 1024 * PART
MODELS: dict[str, type[Model]] = {
    model.__name__: model for model in (Device, MobileUser, DataverseMapping, Registration, InteractionEvent)
}
OPEN = (BulkState.WAITING, BulkState.RUNNING)


@dataclass(frozen=True)
class Kind:
    """To which tables' rows it is done, by whom, and what it does, in words."""

    models: tuple[type[Model], ...]
    permission: str
    title: str
    meaning: str


KINDS: dict[BulkKind, Kind] = {
    BulkKind.RETRY: Kind(
        (Registration,),
        "registry.change_registration",
        "Try failed ones again",
        "Failed registrations are sent to Customer Insights - Journeys once more, at the app's usual rate. Others, and "
        "those whose token is too long for it, stay as they are.",
    ),
    BulkKind.CHECK: Kind(
        (Device,),
        "registry.change_device",
        "Check now",
        "Each device is planned anew, outcomes that are open are asked for now, and what is registered is registered "
        "once more, so that Customer Insights - Journeys holds it for certain.",
    ),
    BulkKind.RETIRE: Kind(
        (Device,),
        "registry.change_device",
        "Retire and clean up",
        "The devices are retired, and what is registered for them at Customer Insights - Journeys is cleaned up: they "
        "get no more pushes. A device lives again when its app is opened.",
    ),
    BulkKind.MAP_AGAIN: Kind(
        (MobileUser, DataverseMapping),
        "registry.change_dataversemapping",
        "Map again",
        "Dataverse is asked again who these users are. Who is mapped stays so until another record is found; a record "
        "that a person pinned is not believed any longer.",
    ),
    BulkKind.REPLAY: Kind(
        (InteractionEvent,),
        "registry.change_interactionevent",
        "Replay dead letters",
        "Events that Customer Insights - Journeys refused, or that were given up, are relayed once more. Those that "
        "happened too long ago, or whose users have withdrawn their consent to tracking, stay as they are.",
    ),
    BulkKind.DISCARD: Kind(
        (InteractionEvent,),
        "registry.change_interactionevent",
        "Discard dead letters",
        "Events that Customer Insights - Journeys refused, or that were given up, are never relayed. They stay in the "
        "list, as not relayed, until they are deleted with their partition.",
    ),
}
IMPORTS = "registry.import_device"


def start(kind: BulkKind, model: type[Model], choice: Choice, what: str, by: Any) -> BulkJob:
    """Have it done to these rows, for an account."""

    def create() -> BulkJob:
        last = model._default_manager.aggregate(last=Max("pk"))["last"] or 0  # noqa: SLF001 documented
        job = BulkJob.objects.create(
            kind=kind,
            by=by.get_username(),
            what=what[:300],
            model=model.__name__,
            apps=None if choice.apps is None else sorted(choice.apps),
            show=choice.show,
            ids=None if choice.ids is None else list(choice.ids),
            last=last,
        )
        record(job, f"started: {what}"[:300], by)
        announce(["bulk"])
        return job

    return in_transaction(create)


def permission_of(job: BulkJob) -> str:
    """What somebody needs to have such a thing done, or to stop it."""
    return IMPORTS if job.kind == BulkKind.IMPORT else KINDS[BulkKind(job.kind)].permission


def choice_of(job: BulkJob) -> Choice:
    """Which rows the job is about."""
    return Choice(job.apps, job.show, job.ids)


def start_import(app: MobileApp, name: str, pieces: Iterator[bytes], by: Any) -> BulkJob:
    """Keep the file, and have its devices imported. Raises InvalidInput for one that is too large or no such file."""

    def create() -> BulkJob:
        job = BulkJob.objects.create(
            kind=BulkKind.IMPORT, by=by.get_username(), what=f"{PurePath(name).name} for {app.slug}"[-300:], app=app
        )
        size = 0
        for number, data in enumerate(_in_parts(pieces)):
            size += len(data)
            if size > LARGEST:
                raise InvalidInput("file", f"is larger than {LARGEST // PART} MB: manage.py import_devices takes it.")
            BulkPart.objects.create(job=job, number=number, data=data)
        if not size:
            raise InvalidInput("file", "is empty.")
        job.total, job.model = size, PurePath(name).suffix
        next(rows_of(file_of(job), job.model, app.slug), None)  # the heading
        job.save()
        record(job, f"started: {job.what}", by)
        announce(["bulk"])
        return job

    return in_transaction(create)


def stop(job: BulkJob, by: Any) -> bool:
    """End it where it is; whether it was not over yet."""
    still = BulkJob.objects.filter(pk=job.pk, state__in=OPEN)
    stopped = still.update(state=BulkState.STOPPED, due_at=None, finished_at=Now(), detail=f"Stopped by {by}.")
    if stopped:
        BulkPart.objects.filter(job=job).delete()
        record(job, "stopped", by)
    return bool(stopped)


def summary(job: BulkJob) -> str:
    """What was done to how many, in a sentence."""
    left = job.done - job.changed - job.failed
    if job.kind == BulkKind.IMPORT:
        failed = f"{job.failed:,} have errors and were left out" if job.failed else "none has errors"
        return (
            f"{job.done:,} rows: {job.changed:,} made or changed a device, {left:,} were known already, older than "
            f"what is known or of a retired device, and {failed}."
        )
    of = "" if job.total is None else f" of {job.total:,}"
    stays = f"; {left:,} stayed as they were, since it does not apply to them" if left else ""
    return f"{KINDS[BulkKind(job.kind)].title}: done to {job.changed:,}{of}{stays}."


def file_of(job: BulkJob) -> io.BufferedReader:
    """The file of an import, read piece by piece as it is needed."""
    return io.BufferedReader(_Parts(job), buffer_size=64 * 1024)


def _in_parts(pieces: Iterator[bytes]) -> Iterator[bytes]:
    kept = bytearray()
    for piece in pieces:
        kept += piece
        while len(kept) >= PART:
            yield bytes(kept[:PART])
            del kept[:PART]
    if kept:
        yield bytes(kept)


class _Parts(io.RawIOBase):
    """The parts in the database as one file; holds one of them at a time."""

    def __init__(self, job: BulkJob) -> None:
        self._job, self._size = job, job.total or 0
        self._at, self._number, self._data = 0, -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        number, begin = divmod(self._at, PART)
        if number != self._number:
            part = BulkPart.objects.filter(job=self._job, number=number).values_list("data", flat=True).first()
            self._number, self._data = number, bytes(part or b"")
        view = memoryview(buffer).cast("B")
        data = self._data[begin : begin + len(view)]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
