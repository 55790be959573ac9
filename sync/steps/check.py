"""Check: look at every device in turn, however long it is unchanged, and at what rests where no registration may.

The floor under all marks and nudges: a device whose registrations are not what follows from it is planned anew, a user
without a mapping gets one, a registration that waits for nothing is made due. One block of devices at a time, at a pace
that comes round once in a set time. What it mends is logged: it is somebody's mistake.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Max
from django.db.models.functions import Now

from registry.models import AT_REST, DataverseMapping, Device, Registration, RollingCheck
from registry.services import clock, correlation
from registry.services.desired import Target, target
from registry.services.locking import in_transaction

logger = logging.getLogger(__name__)

BLOCK = 1000

type Pair = tuple[uuid.UUID, bytes, str]  # Dataverse id, hash of the token, platform


def run_batch() -> int:
    """Check one block of devices where it is time for it; return how many rows were mended."""
    return in_transaction(_wake_stuck) + in_transaction(_check_block)


def next_due() -> datetime | None:
    """When the next block is to be checked."""
    return RollingCheck.objects.values_list("due_at", flat=True).first()


def _wake_stuck() -> int:
    woken = Registration.objects.filter(~AT_REST, due_at__isnull=True, in_flight=False).update(due_at=Now())
    if woken:
        logger.error("check: %d registrations waited for nothing; they go on", woken)
    return woken


def _check_block() -> int:
    RollingCheck.objects.get_or_create(pk=1)
    check = RollingCheck.objects.select_for_update(skip_locked=True).filter(pk=1, due_at__lte=Now()).first()
    if check is None:
        return 0
    devices = list(Device.objects.select_related("user").filter(pk__gt=check.position).order_by("pk")[:BLOCK])
    mended = _mend(devices)
    last = Device.objects.aggregate(last=Max("pk"))["last"] or 0
    check.position = devices[-1].pk if len(devices) == BLOCK else 0
    check.due_at = clock.now() + pace(last)
    check.mended += mended
    check.save()
    if mended:
        logger.error("check: %d devices had registrations that did not follow from them; planned anew", mended)
    return mended


def pace(last_id: int) -> timedelta:
    """The time between two blocks, so that all are looked at once in the set time."""
    interval: timedelta = settings.TOKENHUB_ROLLING_CHECK / max(last_id / BLOCK, 1)
    return interval


def _mend(devices: Sequence[Device]) -> int:
    users = {device.user_id for device in devices if device.user_id}
    mappings = DataverseMapping.objects.in_bulk(users)
    missing = [DataverseMapping(user_id=user, due_at=Now()) for user in sorted(users - mappings.keys())]
    DataverseMapping.objects.bulk_create(missing, ignore_conflicts=True)
    believed: defaultdict[int | None, set[Pair]] = defaultdict(set)
    for row in Registration.objects.filter(device__in=devices, desired=True):
        believed[row.device_id].add((row.dataverse_id, bytes(row.token_hash), row.platform))
    # Those that are marked are the planner's already.
    planned = [device for device in devices if device.revision == device.planned_revision]
    wrong = [device.pk for device in planned if believed[device.pk] != _wanted(device, mappings)]
    again = Device.objects.filter(pk__in=wrong, revision=F("planned_revision"))
    return again.update(revision=F("revision") + 1, **correlation.origin()) + len(missing)


def _wanted(device: Device, mappings: Mapping[int, DataverseMapping]) -> set[Pair]:
    found = target(device, device.user, mappings.get(device.user_id) if device.user_id else None)
    return {(found.dataverse_id, bytes(device.token_hash), device.platform)} if isinstance(found, Target) else set()
