"""Detect: bring what is desired of the registrations in line with the devices.

Pure database work, one transaction a batch. The device rows stay locked meanwhile, so a plan made from an older
state can never be written after a newer one.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F

from registry.models import DataverseMapping, Device, MobileUser
from registry.services import bulk
from registry.services.desired import Target, target
from registry.services.locking import in_transaction
from registry.states import DeviceState

BATCH = 500

# A row in flight, or one whose outcome is asked for, keeps its time: shortening it would let a second call start
# beside the first. One that waits for an outcome is polled soon, since somebody may wait for its token. One that
# was sent without an answer is left alone for as long as a hand-over waits for an undecided registration.
_UNDESIRE = """
UPDATE registry_registration r
SET desired = false, desired_changed_at = now(), asked_by = touched.asked_by, asked_at = touched.asked_at,
    -- A living phone has the token, and no longer for this user alone; an erasure is as urgent.
    urgent = EXISTS (
        SELECT FROM registry_device d
        WHERE d.app_id = r.app_id AND d.token_hash = r.token_hash AND d.retired_at IS NULL
    ) OR EXISTS (SELECT FROM registry_device d WHERE d.id = r.device_id AND d.retired_reason = 'erased'),
    due_at = CASE WHEN r.in_flight THEN r.due_at
                  WHEN r.state = 'sent' THEN least(r.due_at, now() + %(soon)s)
                  WHEN r.state = 'retiring' THEN r.due_at
                  WHEN r.state = 'ready' AND r.undecided_until IS NOT NULL
                      THEN greatest(now(), r.sent_at + %(patience)s)
                  ELSE now() END
FROM (
    SELECT o.id, d.changed_by AS asked_by, d.changed_at AS asked_at FROM registry_registration o
    JOIN registry_device d ON d.id = o.device_id
    WHERE o.desired AND o.device_id = ANY(%(devices)s::bigint[])
    UNION
    SELECT o.id, w.asked_by, w.asked_at FROM registry_registration o
    JOIN unnest(%(apps)s::bigint[], %(hashes)s::bytea[], %(asked_by)s::uuid[], %(asked_at)s::timestamptz[])
        AS w(app_id, token_hash, asked_by, asked_at) ON o.app_id = w.app_id AND o.token_hash = w.token_hash
    WHERE o.desired
) AS touched
-- Said again of the row itself: after waiting for another planner only this is looked at anew.
WHERE r.id = touched.id AND r.desired AND (
    r.device_id = ANY(%(devices)s::bigint[]) OR EXISTS (
        SELECT FROM unnest(%(apps)s::bigint[], %(hashes)s::bytea[]) AS w(app_id, token_hash)
        WHERE w.app_id = r.app_id AND w.token_hash = r.token_hash
    )
) AND NOT EXISTS (
    SELECT FROM unnest(%(apps)s::bigint[], %(hashes)s::bytea[], %(ids)s::uuid[]) AS w(app_id, token_hash, dataverse_id)
    WHERE w.app_id = r.app_id AND w.token_hash = r.token_hash AND w.dataverse_id = r.dataverse_id
)
"""
# Somebody waits for a token that is to be cleaned up for another reason already.
_HURRY = """
UPDATE registry_registration r SET urgent = true, asked_by = w.asked_by, asked_at = w.asked_at
FROM unnest(%(apps)s::bigint[], %(hashes)s::bytea[], %(asked_by)s::uuid[], %(asked_at)s::timestamptz[])
    AS w(app_id, token_hash, asked_by, asked_at)
WHERE r.app_id = w.app_id AND r.token_hash = w.token_hash AND r.maybe_held AND NOT r.desired AND NOT r.urgent
"""
# Under a replaced connection everything is being cleaned up; what a phone in other hands has there goes first.
_HURRY_REPLACED = """
UPDATE registry_registration r SET urgent = true, asked_by = d.changed_by, asked_at = d.changed_at
FROM registry_device d JOIN registry_mobileapp p ON p.replaced_by_id = d.app_id
-- Asked first, and once: hardly anybody has replaced a connection.
WHERE EXISTS (SELECT FROM registry_mobileapp WHERE replaced_by_id IS NOT NULL)
    AND d.id = ANY(%(devices)s::bigint[]) AND d.retired_at IS NULL
    AND r.app_id = p.id AND r.token_hash = d.token_hash AND r.maybe_held AND NOT r.urgent
    AND NOT EXISTS (
        SELECT FROM unnest(%(targets)s::bigint[], %(ids)s::uuid[]) AS w(device_id, dataverse_id)
        WHERE w.device_id = d.id AND w.dataverse_id = r.dataverse_id
    )
"""
_DESIRE = """
INSERT INTO registry_registration AS r
    (app_id, device_id, "table", dataverse_id, platform, token, token_hash, desired, state, due_at,
     reason, detail, attempts, rounds, maybe_held, recheck, in_flight, claim_no, asked_by, asked_at)
SELECT app_id, device_id, "table", dataverse_id, platform, token, token_hash, true, 'ready', now(),
     '', '', 0, 0, false, false, false, 0, asked_by, asked_at
FROM unnest(%(apps)s::bigint[], %(targets)s::bigint[], %(tables)s::text[], %(ids)s::uuid[], %(platforms)s::text[],
            %(tokens)s::text[], %(hashes)s::bytea[], %(asked_by)s::uuid[], %(asked_at)s::timestamptz[])
    AS w(app_id, device_id, "table", dataverse_id, platform, token, token_hash, asked_by, asked_at)
ON CONFLICT (app_id, dataverse_id, token_hash) DO UPDATE
SET desired = true, erasure_id = NULL, device_id = excluded.device_id, "table" = excluded."table",
    platform = excluded.platform,
    urgent = r.maybe_held AND r.sent_platform NOT IN ('', excluded.platform),
    asked_by = CASE WHEN r.desired AND r.platform = excluded.platform THEN r.asked_by ELSE excluded.asked_by END,
    asked_at = CASE WHEN r.desired AND r.platform = excluded.platform THEN r.asked_at ELSE excluded.asked_at END,
    desired_changed_at = CASE WHEN r.desired THEN r.desired_changed_at ELSE now() END,
    attempts = CASE WHEN r.desired THEN r.attempts ELSE 0 END,
    due_at = CASE WHEN r.in_flight OR r.state IN ('sent', 'retiring') THEN r.due_at
                  -- Held, or on its way, as another platform: that is cleaned up first.
                  WHEN r.platform <> excluded.platform AND r.state = 'ready' AND r.undecided_until IS NOT NULL
                      THEN greatest(now(), r.sent_at + %(patience)s)
                  WHEN r.platform <> excluded.platform THEN now()
                  WHEN r.desired THEN r.due_at
                  WHEN r.state = 'registered' AND NOT r.recheck THEN r.cleanup_echo_until
                  ELSE now() END
"""


def run_batch(limit: int = BATCH) -> int:
    """Plan up to `limit` changed devices; return how many there were."""
    return in_transaction(lambda: _plan(limit))


def plan_for(people: Mapping[int, tuple[MobileUser, DataverseMapping]]) -> None:
    """Plan the devices of users, by their ids, who have just been mapped: within the transaction that maps them, which
    holds both rows, so that nobody looks for what changed first."""
    theirs = Device.objects.select_for_update(no_key=True).filter(bulk.among("user_id", people)).order_by("pk")
    devices = [(device, target(device, *people[device.user_id])) for device in theirs if device.user_id]
    if devices:
        _write(devices)


def _plan(limit: int) -> int:
    locked = _lock_changed(limit)
    # Read in a second statement: of a row that changed while the first waited, PostgreSQL locks the newest version
    # but would join the user as the older snapshot saw them. Writers of users lock the devices before they commit.
    devices = list(Device.objects.filter(bulk.among("pk", locked)).select_related("user").order_by("pk"))
    if devices:
        users = [device.user_id for device in devices if device.user_id]
        mappings = {mapping.user_id: mapping for mapping in DataverseMapping.objects.filter(bulk.among("pk", users))}
        _write([(device, target(device, device.user, mappings.get(device.user_id or 0))) for device in devices])
    return len(devices)


def _lock_changed(limit: int) -> list[int]:
    """Lock changed devices and return their ids; those that were planned before come first, since only their changes
    can need a cleanup."""
    changed = Device.objects.filter(revision__gt=F("planned_revision")).order_by("pk")
    ids = changed.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True)
    known = list(ids.filter(planned_revision__gt=0)[:limit])
    return known + list(ids.filter(planned_revision=0)[: limit - len(known)])


def _write(devices: Sequence[tuple[Device, Target | DeviceState]]) -> None:
    """Write what is desired of locked devices, of each for whom or why for nobody, and that they are planned."""
    wanted = [(device, found) for device, found in devices if isinstance(found, Target)]
    parameters: dict[str, Any] = {
        "soon": timedelta(seconds=1),
        "patience": settings.TOKENHUB_HANDOVER_PATIENCE,
        "devices": bulk.array(device.id for device, _ in devices),
        "targets": bulk.array(device.id for device, _ in wanted),
        "apps": bulk.array(device.app_id for device, _ in wanted),
        "tables": bulk.array(found.table for _, found in wanted),
        "ids": bulk.array(found.dataverse_id for _, found in wanted),
        "platforms": bulk.array(device.platform for device, _ in wanted),
        "tokens": bulk.array(device.token for device, _ in wanted),
        "hashes": bulk.array(device.token_hash for device, _ in wanted),
        "asked_by": bulk.array(device.changed_by for device, _ in wanted),
        "asked_at": bulk.array(device.changed_at for device, _ in wanted),
    }
    with connection.cursor() as cursor:
        cursor.execute(_UNDESIRE, parameters)
        cursor.execute(_HURRY_REPLACED, parameters)
        if wanted:
            cursor.execute(_HURRY, parameters)
            cursor.execute(_DESIRE, parameters)
    changed = Device.objects.filter(
        bulk.among("pk", [device.id for device, _ in devices]), revision__gt=F("planned_revision")
    )
    changed.update(planned_revision=F("revision"))
