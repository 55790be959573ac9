"""Taking over many devices at once from another system.

A file is read again after a crash, and most of its rows may be known: those are only read. Rows that are wholly new and
have nothing to do with each other, the other great part, are written many at a time, under the same locks as
launches. Every other row goes the way of a launch, one by one and in their order.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import batched, compress

from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils import timezone

from registry.crypto import sha256
from registry.models import DataverseMapping, Device, MobileApp, MobileUser
from registry.ports import announce
from registry.services import freshness
from registry.services.hygiene import retire_surplus
from registry.services.ingest import Launch, Result, find_device, record_launch, says_nothing_new
from registry.services.locking import in_transaction, lock
from registry.services.shared import SharedInstallation

# Each row holds two advisory locks, and PostgreSQL has room for some thousands of all transactions together.
AT_ONCE = 200


def import_launches(app: MobileApp, launches: Sequence[Launch]) -> list[Result]:
    """Bring the tables to what the launches say; return what each changed, in their order.

    Of two for one installation, token or user the later counts. One whose `seen_at` is before the device was last seen
    here is STALE: the phone itself has told more since.
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
        created = in_transaction(partial(_create, app, [launches[number] for number in numbers]))
        results.update(dict.fromkeys(compress(numbers, created), Result.CREATED))
    return [results.get(number) or _one(app, launch) for number, launch in enumerate(launches)]


def _at_a_glance(device: Device, launch: Launch) -> Result | None:
    """What becomes of the launch, where that needs no write."""
    if launch.seen_at is not None and launch.seen_at < device.last_seen:
        return Result.STALE
    return Result.UNCHANGED if says_nothing_new(device, launch) else None


def _one(app: MobileApp, launch: Launch) -> Result:
    device = find_device(app, launch.installation_id)
    if device is not None and _at_a_glance(device, launch) is Result.STALE:
        return Result.STALE
    try:
        return record_launch(app, launch).result
    except SharedInstallation:
        return Result.STALE  # two phones post this id in turn, and the one that is there keeps it


def _known(app: MobileApp, launches: Sequence[Launch]) -> dict[str, Device]:
    found = Device.objects.select_related("user").filter(
        app=app, installation_id__in={launch.installation_id for launch in launches}
    )
    return {device.installation_id: device for device in found}


def _entangled(launches: Sequence[Launch]) -> set[int]:
    """Those that share an installation, a token or a user with another one, whose order counts.

    A user who is told of in the same words each time does not count.
    """
    installations = Counter(launch.installation_id for launch in launches)
    tokens = Counter(launch.token for launch in launches)
    told: dict[str, set[tuple[tuple[str, object], ...]]] = {}
    for launch in launches:
        if launch.user:
            told.setdefault(launch.user.external_id, set()).add(tuple(sorted(launch.user.given.items())))
    return {
        number
        for number, launch in enumerate(launches)
        if installations[launch.installation_id] > 1
        or tokens[launch.token] > 1
        or (launch.user is not None and len(told[launch.user.external_id]) > 1)
    }


def _create(app: MobileApp, launches: Sequence[Launch]) -> list[bool]:
    """Write those that are new in every respect; return for each whether it was.

    The locks are those of a launch, so that a phone that posts meanwhile waits, and nobody finds half of a row.
    """
    hashes = {launch.token: sha256(launch.token) for launch in launches}
    lock(*_locks(app, launches, hashes))
    taken = set(
        Device.objects.filter(
            Q(installation_id__in=[launch.installation_id for launch in launches])
            | Q(token_hash__in=list(hashes.values()), retired_at__isnull=True),
            app=app,
        ).values_list("installation_id", "token")
    )
    installations, tokens = {name for name, _ in taken}, {token for _, token in taken}
    free = [launch for launch in launches if launch.installation_id not in installations and launch.token not in tokens]
    users = _users(app, free)
    # Whoever is told otherwise than we know goes the way of a launch.
    free = [launch for launch in free if launch.user is None or launch.user.external_id in users]
    now = timezone.now()
    devices = [_device(app, launch, users, hashes[launch.token], launch.seen_at or now) for launch in free]
    Device.objects.bulk_create(devices)
    DataverseMapping.objects.bulk_create(
        [DataverseMapping(user=user, due_at=Now()) for user in users.values()], ignore_conflicts=True
    )
    _keep_within_limit(app, devices)
    announce(["plan", "map"] if devices else [])
    created = {launch.installation_id for launch in free}
    return [launch.installation_id in created for launch in launches]


def _locks(app: MobileApp, launches: Iterable[Launch], hashes: dict[str, bytes]) -> Iterator[str]:
    for launch in launches:
        yield f"installation:{app.pk}:{launch.installation_id}"
        yield f"token:{app.pk}:{hashes[launch.token].hex()}"


def _users(app: MobileApp, launches: Sequence[Launch]) -> dict[str, MobileUser]:
    """The users whom the launches name, locked, the unknown ones made; not those of whom we know something else."""
    told = {launch.user.external_id: launch.user.given for launch in launches if launch.user}
    defaults = {"push_consent": app.default_push_consent, "tracking_consent": app.default_tracking_consent}
    mine = MobileUser.objects.filter(app=app, external_id__in=told)
    known = set(mine.values_list("external_id", flat=True))
    MobileUser.objects.bulk_create(
        [
            MobileUser(app=app, external_id=name, **{**defaults, **given})
            for name, given in sorted(told.items())
            if name not in known
        ],
        ignore_conflicts=True,
    )
    return {
        user.external_id: user
        for user in mine.select_for_update(no_key=True).order_by("pk")
        if all(getattr(user, name) == value for name, value in told[user.external_id].items())
    }


def _device(
    app: MobileApp, launch: Launch, users: dict[str, MobileUser], token_hash: bytes, seen_at: datetime
) -> Device:
    device = Device(
        app=app,
        installation_id=launch.installation_id,
        platform=launch.platform,
        token=launch.token,
        token_hash=token_hash,
        user=users[launch.user.external_id] if launch.user else None,
        last_seen=seen_at,
        **launch.info,
    )
    freshness.advance(device, launch.sequence)
    return device


def _keep_within_limit(app: MobileApp, devices: Sequence[Device]) -> None:
    most = app.max_devices_per_user
    if not most:
        return
    newest = {device.user_id: device for device in devices if device.user_id}
    living = Device.objects.filter(user__in=list(newest), retired_at__isnull=True).values("user")
    for user in living.annotate(count=Count("pk")).filter(count__gt=most).values_list("user", flat=True):
        retire_surplus(app, newest[user])
