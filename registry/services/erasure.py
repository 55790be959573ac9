"""Erasing a user: what is not needed goes at once, the rest when CI-J has accepted the cleanup, and a receipt stays.

1. The request, one transaction: the user, their mapping and their events are deleted; their devices are retired and
   made nameless, so that the phones can come back as fresh devices at once.
2. The planner and the cleanup do with the devices' registrations what they do with all that is no longer desired.
3. The end, one transaction (`finish`): what CI-J has forgotten is deleted and counted in the receipt. An administrator
   can force it, with a note.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from registry.crypto import sha256
from registry.models import DataverseMapping, Device, Erasure, InteractionEvent, MobileApp, MobileUser, Registration
from registry.ports import announce
from registry.services import correlation, event_counts, history
from registry.services.connections import connections_of
from registry.services.errors import InvalidInput
from registry.services.locking import in_transaction
from registry.services.purge import is_over
from registry.states import ErasureState, RetiredReason


def erase_user(app: MobileApp, external_id: str, requested_by: str) -> Erasure:
    """Begin to erase the app's user of that id; return the receipt. Raises InvalidInput where there is none.

    `requested_by` says who asked for it, without personal data: it stays in the receipt.
    """
    return in_transaction(lambda: _erase(app, external_id, requested_by))


def force_erasure(receipt: uuid.UUID, note: str, by: str) -> Erasure:
    """Delete what waits for CI-J without waiting any longer; return the receipt, which says what CI-J may still hold.

    Raises InvalidInput: no such receipt, finished already, or no note.
    """
    if not note.strip():
        raise InvalidInput("note", "Say why it is forced.")
    return in_transaction(lambda: _force(receipt, note.strip(), by))


def receipt(erasure: Erasure) -> dict[str, Any]:
    """What an erasure's receipt says."""
    return {
        "receipt": erasure.pk,
        "app": erasure.app.slug,
        "state": erasure.state,
        "requested_at": erasure.requested_at,
        "requested_by": erasure.requested_by,
        "finished_at": erasure.finished_at,
        "finished_by": erasure.finished_by,
        "devices": erasure.devices,
        "registrations": erasure.registrations,
        "events": erasure.events,
        "not_cleaned_up": erasure.not_cleaned_up,
        "note": erasure.note,
    }


def finish(erasure: Erasure, state: ErasureState) -> bool:
    """Delete the erasure's devices and registrations and write the receipt; the erasure is locked by the caller.

    Returns False, and does nothing, where CI-J has not forgotten everything, unless it is FORCED.
    """
    devices = list(Device.objects.select_for_update().filter(erasure=erasure).order_by("pk"))
    linked = Registration.objects.filter(erasure=erasure)
    if state is ErasureState.FORCED:
        # The planner has the last word on what other devices desire: it is not ours to delete.
        linked.filter(desired=True).exclude(device__in=devices).update(erasure=None)
    registrations = list(linked.select_for_update().order_by("pk").values_list("pk", flat=True))
    waiting = linked.exclude(is_over()).count()
    planned = all(device.revision == device.planned_revision for device in devices)
    if state is not ErasureState.FORCED and (waiting or not planned):
        return False
    # Events, and what else happened, while it was waited for.
    events = _delete(InteractionEvent.objects.filter(device__in=devices))
    history.erase(devices)
    Registration.objects.filter(pk__in=registrations).delete()
    Device.objects.filter(pk__in=[device.pk for device in devices]).delete()
    erasure.state, erasure.finished_at = state, timezone.now()
    erasure.devices = len(devices)
    erasure.registrations += len(registrations)
    erasure.events += events
    erasure.not_cleaned_up += waiting
    erasure.save()
    return True


def unfinished(erasures: Sequence[Erasure]) -> set[uuid.UUID]:
    """Those among them that still wait for the planner or for CI-J, as far as a look without locks can tell."""
    to_plan = Device.objects.filter(erasure__in=erasures, revision__gt=F("planned_revision"))
    to_clean_up = Registration.objects.filter(erasure__in=erasures).exclude(is_over())
    found = {*to_plan.values_list("erasure", flat=True), *to_clean_up.values_list("erasure", flat=True)}
    return {erasure for erasure in found if erasure is not None}


def _erase(app: MobileApp, external_id: str, requested_by: str) -> Erasure:
    # Locks in the order of the ingest: the user, the mapping, the devices by id.
    user = MobileUser.objects.select_for_update().filter(app=app, external_id=external_id).first()
    if user is None:
        raise InvalidInput("user", f"The app {app.slug} knows no user of that id.")
    mapping = DataverseMapping.objects.select_for_update().filter(user=user).first()
    record = mapping.dataverse_id if mapping else None
    touched = Q(user=user)
    if record is not None:
        desired = Registration.objects.filter(app=app, dataverse_id=record, desired=True)
        touched |= Q(pk__in=desired.values("device"))
    locked = list(Device.objects.select_for_update().filter(touched).order_by("pk"))
    devices = [device for device in locked if device.user_id == user.pk]

    erasure = Erasure.objects.create(app=app, requested_by=requested_by)
    _link_registrations(erasure, devices, record)
    erasure.events = _delete_events(app, devices)
    erasure.save(update_fields=["events"])
    for device in devices:
        _make_nameless(device, erasure)
    history.erase(devices, user.pk)
    user.delete()  # and the mapping with it
    announce(["plan", "erase"])
    return erasure


def _link_registrations(erasure: Erasure, devices: Sequence[Device], record: uuid.UUID | None) -> None:
    """Tie to the erasure what CI-J has to forget: of these devices, and of the user's record, wherever from.

    Not what another user's living device desires who is the same record in Dataverse.
    """
    rows = Registration.objects.filter(app__in=connections_of(erasure.app))
    rows.filter(device__in=devices).update(erasure=erasure)
    if record is not None:
        of_others = rows.filter(
            desired=True,
            device__retired_at__isnull=True,
            device__token_hash=F("token_hash"),
            device__user__mapping__dataverse_id=record,
        )
        rest = rows.filter(dataverse_id=record, erasure__isnull=True)
        rest.exclude(pk__in=of_others.values("pk")).update(erasure=erasure)


def _delete_events(app: MobileApp, devices: Sequence[Device]) -> int:
    """Delete what the devices reported, also before they were known; return how much."""
    old = Registration.objects.filter(device__in=devices).values_list("token", flat=True)
    tokens = {*old, *(device.token for device in devices)}
    unknown = Q(device__isnull=True, token__in=tokens)
    return _delete(InteractionEvent.objects.filter(Q(device__in=devices) | unknown, app__in=connections_of(app)))


def _delete(events: QuerySet[InteractionEvent]) -> int:
    """Delete events with what is counted of them as not relayed yet; return how many."""
    event_counts.erased(events)
    return events.delete()[0]


def _make_nameless(device: Device, erasure: Erasure) -> None:
    """Retire the device and take from it all that the cleanup does not need: that stands in its registrations."""
    Device.objects.filter(pk=device.pk).update(
        erasure=erasure,
        user=None,
        installation_id=f"erased:{uuid.uuid4()}",
        token="",
        token_hash=sha256(""),
        app_version="",
        os_version="",
        model="",
        locale="",
        time_zone="",
        retired_at=device.retired_at or Now(),
        retired_reason=RetiredReason.ERASED,
        revision=F("revision") + 1,
        **correlation.origin(),
    )


def _force(receipt: uuid.UUID, note: str, by: str) -> Erasure:
    erasure = Erasure.objects.select_for_update().filter(pk=receipt).first()
    if erasure is None:
        raise InvalidInput("receipt", "There is no erasure of that receipt.")
    if erasure.state != ErasureState.WAITING:
        raise InvalidInput("receipt", f"That erasure is over already: {erasure.get_state_display()}.")
    erasure.note, erasure.finished_by = "\n".join(filter(None, [erasure.note, note])), by
    finish(erasure, ErasureState.FORCED)
    return erasure
