"""The app's users: what is known of them, and who has to learn of a change."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from registry.models import DataverseMapping, Device, MobileApp, MobileUser
from registry.ports import announce
from registry.services import bulk, correlation
from registry.services.locking import in_transaction
from registry.states import BELIEVED, GIVEN, MappingState


@dataclass(frozen=True)
class Kept:
    """A user as they are kept now, and what keeping them changed. `steps` have work on commit."""

    user: MobileUser
    created: bool
    changed: bool
    steps: frozenset[str]


def put_user(app: MobileApp, external_id: str, given: Mapping[str, Any]) -> Kept:
    """Make or change the app's user of that id, in a transaction of its own. `given` holds only what is to be written:
    normalised email and phone (empty: taken away), push_consent, tracking_consent.
    """

    def change() -> Kept:
        kept = keep_user(app, external_id, given)
        announce(kept.steps)
        return kept

    return in_transaction(change)


def keep_user(
    app: MobileApp, external_id: str, given: Mapping[str, Any], dataverse_id: uuid.UUID | None = None
) -> Kept:
    """Lock or make the user and write what was given. The caller announces the steps.

    `dataverse_id` is their record where the app knows it: believed, and not looked up or re-checked.
    """
    defaults = {"push_consent": app.default_push_consent, "tracking_consent": app.default_tracking_consent}
    locked = MobileUser.objects.select_for_update(no_key=True).filter(app=app, external_id=external_id)
    created = False
    while (user := locked.first()) is None:
        # Another phone of theirs may be as quick, and they may be erased before the row is locked.
        row = MobileUser(app=app, external_id=external_id, **{**defaults, **given})
        MobileUser.objects.bulk_create([row], ignore_conflicts=True)
        created = True
    changed = {name for name, value in given.items() if getattr(user, name) != value}
    for name in changed:
        setattr(user, name, given[name])
    if changed:
        user.save(update_fields=sorted(changed))
    steps = set()
    if "push_consent" in changed:
        mark_devices([user.pk])
        steps.add("plan")
    if dataverse_id is not None:
        _map(user, dataverse_id)
    elif _ask_for_mapping(user, again=bool(changed & {"email", "phone"})):
        steps.add("map")
    return Kept(user, created, bool(changed), frozenset(steps))


def _map(user: MobileUser, dataverse_id: uuid.UUID) -> None:
    """Map the user to the record that was given. The user row is locked."""
    record = {"state": MappingState.MAPPED, "dataverse_id": dataverse_id, "matched_by": GIVEN, "due_at": None}
    mapping, created = DataverseMapping.objects.get_or_create(user=user, defaults=record)
    if not created and mapping.matched_by not in BELIEVED:
        DataverseMapping.objects.filter(pk=mapping.pk).update(**record, table="", claim_no=F("claim_no") + 1)
        mark_devices([user.pk])


def mark_devices(users: Sequence[int]) -> None:
    """Have the devices of these users planned again. The user rows are locked by the caller."""
    theirs = Device.objects.select_for_update(no_key=True).filter(bulk.among("user_id", users)).order_by("pk")
    devices = list(theirs.values_list("pk", flat=True))
    Device.objects.filter(bulk.among("pk", devices)).update(revision=F("revision") + 1, **correlation.origin())


def _ask_for_mapping(user: MobileUser, *, again: bool) -> bool:
    """Make the user's mapping due where it is new or the keys changed. The user row is locked."""
    mapping, created = DataverseMapping.objects.get_or_create(
        user=user, defaults={"due_at": Now(), "asked_by": correlation.current()}
    )
    again = again and mapping.matched_by not in BELIEVED
    if again and not created:
        # A higher claim_no drops the answer to any question about the old keys that is in the air.
        DataverseMapping.objects.filter(pk=mapping.pk).update(
            due_at=Now(), attempts=0, claim_no=F("claim_no") + 1, asked_by=correlation.current()
        )
    return created or again
