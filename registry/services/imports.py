"""Taking over many devices at once from another system.

A file is read again after a crash, and most of its rows may be known: those are only read. Rows that are wholly new and
have nothing to do with each other, the other great part, are written many at a time (`new_devices`). Every other row
goes the way of a launch, one by one and in their order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import batched, compress

from django.db import connection
from django.db.models import QuerySet

from registry.crypto import sha256
from registry.models import Device, MobileApp
from registry.services import bulk
from registry.services.ingest import Launch, Result, find_device, record_launch, says_nothing_new
from registry.services.locking import in_transaction
from registry.services.new_devices import create_new
from registry.services.shared import SharedInstallation

# Each row holds two advisory locks, and PostgreSQL has room for some thousands of all transactions together.
AT_ONCE = 200

_TABLES = ("registry_mobileuser", "registry_device", "registry_dataversemapping")
SMALL = 1000  # rows, as PostgreSQL last counted them


def import_launches(app: MobileApp, launches: Sequence[Launch]) -> list[Result]:
    """Bring the tables to what the launches say; return what each changed, in their order.

    Of two for one installation, token or user the later counts. One whose `seen_at` is before the device was last
    seen here, or the one that has its token by now, is STALE: a phone itself has told more since.
    """
    known, entangled = _known(app, launches), _entangled(launches)
    alone = [number for number in range(len(launches)) if number not in entangled]
    results: dict[int, Result] = {}
    for number in alone:
        device = known.get(launches[number].installation_id)
        if device is not None and (result := _at_a_glance(device, launches[number])):
            results[number] = result
    new = [number for number in alone if launches[number].installation_id not in known]
    for numbers in batched(new, AT_ONCE, strict=False):
        created = in_transaction(partial(create_new, app, [launches[number] for number in numbers]))
        results.update(dict.fromkeys(compress(numbers, created), Result.CREATED))
    return [results.get(number) or _one(app, launch) for number, launch in enumerate(launches)]


def analyse_tables(*, only_small: bool) -> None:
    """Have PostgreSQL look at the tables that an import fills; `only_small`: those that it last saw nearly empty.

    By what it saw then it reads all that an app has for each batch or launch, until autovacuum comes by.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT oid::regclass FROM pg_class WHERE oid = ANY(%s::regclass[]) AND (reltuples < %s OR NOT %s)",
            [list(_TABLES), SMALL, only_small],
        )
        if tables := ", ".join(table for (table,) in cursor.fetchall()):
            cursor.execute(f"ANALYZE {tables}")


def _at_a_glance(device: Device, launch: Launch) -> Result | None:
    """What becomes of the launch, where that needs no write."""
    if launch.seen_at is not None and launch.seen_at < device.last_seen:
        return Result.STALE
    return Result.UNCHANGED if says_nothing_new(device, launch) else None


def _one(app: MobileApp, launch: Launch) -> Result:
    device = find_device(app, launch.installation_id)
    if device is not None and _at_a_glance(device, launch) is Result.STALE:
        return Result.STALE
    if launch.seen_at is not None and _holders(app, launch).filter(last_seen__gt=launch.seen_at).exists():
        return Result.STALE
    try:
        return record_launch(app, launch).result
    except SharedInstallation:
        return Result.STALE  # two phones post this id in turn, and the one that is there keeps it


def _holders(app: MobileApp, launch: Launch) -> QuerySet[Device]:
    """The other device that has the launch's token, if one does."""
    living = Device.objects.filter(app=app, token_hash=sha256(launch.token), retired_at__isnull=True)
    return living.exclude(installation_id=launch.installation_id)


def _known(app: MobileApp, launches: Sequence[Launch]) -> dict[str, Device]:
    names = [launch.installation_id for launch in launches]
    found = Device.objects.select_related("user").filter(
        bulk.among_texts("installation_id", names), app=bulk.opaque(app.pk)
    )
    return {device.installation_id: device for device in found}


def _entangled(launches: Sequence[Launch]) -> set[int]:
    """Those that share an installation, a token or a user with another one, whose order counts.

    A user who is told of in the same words each time does not count.
    """
    installations = Counter(launch.installation_id for launch in launches)
    tokens = Counter(launch.token for launch in launches)
    told: dict[str, Mapping[str, object]] = {}
    torn = {
        launch.user.external_id
        for launch in launches
        if launch.user and told.setdefault(launch.user.external_id, launch.user.given) != launch.user.given
    }
    return {
        number
        for number, launch in enumerate(launches)
        if installations[launch.installation_id] > 1
        or tokens[launch.token] > 1
        or (launch.user is not None and launch.user.external_id in torn)
    }
