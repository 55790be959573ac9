"""What a phone's post does to the tables.

A launch nearly always repeats what is known: one indexed read, no write. What was delayed on its way, as its sequence
number or its user token tells, is stale and changes nothing. A change is one transaction:

1. take the advisory locks of the installation and of the token, in order, so that parallel posts of one
   installation or of one token queue up and the last to commit wins;
2. lock and update the user; a new e-mail address or phone number makes the mapper look again;
3. write the device; retire another installation that holds the token, and what the user has too many of;
4. raise `revision` where CI-J has to learn of it, and announce the work on commit.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from registry.crypto import sha256
from registry.models import Device, MobileApp, MobileUser, Reconciliation, Registration
from registry.ports import announce
from registry.services import correlation, freshness, installations, shared
from registry.services.counters import Counter
from registry.services.hygiene import retire, retire_surplus
from registry.services.locking import in_transaction, lock
from registry.services.users import keep_user
from registry.states import FailureReason, RegistrationState, RetiredReason

LAUNCHES = Counter("tokenhub_launches_total", "Launches by what they changed.", ["app", "result"])
INFO_FIELDS = ("app_version", "os_version", "model", "locale", "time_zone")


class Result(StrEnum):
    """What a launch changed."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    STALE = "stale"


@dataclass(frozen=True)
class LaunchUser:
    """The user that a launch names. `given` holds only the fields that were posted."""

    external_id: str
    given: Mapping[str, Any] = field(default_factory=dict)
    dataverse_id: uuid.UUID | None = None  # where the app knows the record


@dataclass(frozen=True)
class Launch:
    """One validated post. `info` holds only the descriptive fields that were posted.

    `keep_user` leaves the device's user as it is: the caller may not say who is signed in, or did not.
    `new_token_signs_out`: not where the push token changes, since nobody vouches for who holds that one.
    `secret` is what the phone shows to prove its installation, maybe nothing; None where it need not.
    """

    installation_id: str
    platform: str
    token: str
    user: LaunchUser | None = None
    keep_user: bool = False
    new_token_signs_out: bool = False
    info: Mapping[str, str] = field(default_factory=dict)
    sequence: int | None = None
    user_token_issued_at: int | None = None  # seconds since 1970
    secret: str | None = None
    seen_at: datetime | None = None  # where it is not now that the phone posts


@dataclass(frozen=True)
class Recorded:
    """What became of a launch, and the secret to hand out with the answer, if any."""

    device: Device
    result: Result
    secret: str = ""


def record_launch(app: MobileApp, launch: Launch) -> Recorded:
    """Bring the tables to what the phone says.

    Raises SharedInstallation where another phone posts the same installation id in turn, and NotYourInstallation where
    the phone does not prove that the installation is its own; nothing changes then.
    """
    recorded = _record(app, launch)
    LAUNCHES.add(app.slug, recorded.result.value)
    return recorded


def _record(app: MobileApp, launch: Launch) -> Recorded:
    restored = Reconciliation.objects.filter(app=OuterRef("app_id"), started_at__gte=OuterRef("last_seen"))
    device = _devices(app, launch.installation_id).annotate(doubted=Exists(restored)).first()
    try:
        repeats = device is not None and says_nothing_new(device, launch)
        if device and repeats and _is_proven(device, launch) and _touch(device, launch, doubted=device.doubted):
            return Recorded(device, Result.UNCHANGED)
        return in_transaction(lambda: _apply(app, launch))
    except freshness.Stale as stale:
        return Recorded(stale.device, Result.STALE)


def find_device(app: MobileApp, installation_id: str) -> Device | None:
    """The app's device of that installation id, with its user."""
    return _devices(app, installation_id).first()


def _devices(app: MobileApp, installation_id: str) -> QuerySet[Device]:
    return Device.objects.select_related("user").filter(app=app, installation_id=installation_id)


def sign_out(device: Device, sequence: int | None = None) -> Result:
    """Nobody is signed in on the device any more; no user token of until now brings anybody back."""
    try:
        return in_transaction(lambda: _sign_out(device, sequence))
    except freshness.Stale:
        return Result.STALE


def _sign_out(found: Device, sequence: int | None) -> Result:
    lock(f"installation:{found.app_id}:{found.installation_id}")
    device = Device.objects.select_for_update(no_key=True).filter(pk=found.pk).first()
    if device is None:  # erased meanwhile, and nobody waited for CI-J
        return Result.UNCHANGED
    freshness.advance(device, sequence)
    freshness.sign_out(device)
    signed_in = device.user_id is not None
    if signed_in:
        device.user = None
        _mark_changed(device)
        announce(["plan"])
    device.save(update_fields=["user", *CHANGED, *freshness.FIELDS])
    return Result.UPDATED if signed_in else Result.UNCHANGED


CHANGED = ("revision", "changed_by", "changed_at")


def _mark_changed(device: Device) -> None:
    """CI-J has to learn of a change. The row is locked."""
    device.revision += 1
    device.changed_by, device.changed_at = correlation.current(), timezone.now()


def retire_device(device: Device) -> None:
    """The app was removed from the device, as far as its owner says. Repeating it changes nothing."""
    with transaction.atomic():
        lock(f"installation:{device.app_id}:{device.installation_id}")
        if retire(Q(pk=device.pk), RetiredReason.DELETED):
            announce(["plan"])
        else:
            # Whatever it was retired for: it is gone, for whoever asks, since its owner says so.
            retired = Device.objects.filter(pk=device.pk, retired_at__isnull=False)
            retired.exclude(retired_reason=RetiredReason.ERASED).update(retired_reason=RetiredReason.DELETED)


def _is_proven(device: Device, launch: Launch) -> bool:
    """Whether nothing has to be written for the sake of the installation's secret."""
    return launch.secret is None or (device.secret_shown and installations.shows_secret(device, launch.secret))


def says_nothing_new(device: Device, launch: Launch) -> bool:
    """Whether the post says nothing new."""
    if device.retired_at or device.token != launch.token or device.platform != launch.platform:
        return False
    if any(getattr(device, name) != value for name, value in launch.info.items()):
        return False
    if launch.keep_user:
        return True
    if launch.user is None or device.user is None:
        return launch.user is None and device.user is None
    user = device.user
    return user.external_id == launch.user.external_id and all(
        getattr(user, name) == value for name, value in launch.user.given.items()
    )


def _touch(device: Device, launch: Launch, *, doubted: bool) -> bool:
    """Write last-seen, at most once in some hours, and what the launch is the newest of: one that repeats is a read.

    `doubted`: last-seen is of before the tables came back from a backup (registry.services.reconcile).
    Returns False where the device changed meanwhile: one that was retired, for not having been seen, is to live again.
    """
    unseen = doubted or timezone.now() - device.last_seen > settings.TOKENHUB_LAST_SEEN_INTERVAL
    newer = freshness.advance(device, launch.sequence, launch.user_token_issued_at)
    if not unseen and not newer:
        return True
    written: dict[str, Any] = {name: Greatest(name, getattr(device, name)) for name in newer}
    if unseen:
        written["last_seen"] = Now()
    # Sign-out, and whatever else counts, raises the revision: an answer to a row that is gone would lose this launch.
    if not Device.objects.filter(pk=device.pk, revision=device.revision, retired_at__isnull=True).update(**written):
        return False
    if unseen:
        _confirm_again(device)
    return True


def _confirm_again(device: Device) -> None:
    """Have an old registration sent again: CI-J drops tokens whose sends fail, and tells nobody.

    So is one that is not believed since the tables came back from a backup (registry.services.reconcile), and one that
    never had an outcome: its phone lives, and what kept CI-J from deciding may be over.
    """
    now = timezone.now()
    registered = Q(state=RegistrationState.REGISTERED, registered_at__lt=now - settings.TOKENHUB_RECONFIRM_AFTER)
    later = Reconciliation.objects.filter(app=OuterRef("app_id"), started_at__gt=OuterRef("registered_at"))
    doubted = Q(Exists(later), state=RegistrationState.REGISTERED)
    unknown = Q(
        state=RegistrationState.FAILED,
        reason=FailureReason.UNKNOWN,
        decided_at__lt=now - settings.TOKENHUB_PENDING_LIMIT,
    )
    old = Registration.objects.filter(
        registered | doubted | unknown, device=device, desired=True, in_flight=False, due_at__isnull=True
    )
    if old.update(due_at=Now()):
        announce(["push"])


def _apply(app: MobileApp, launch: Launch) -> Recorded:
    """Write the launch. It may say nothing new by now: another post of the same was as quick."""
    token_hash = sha256(launch.token)
    lock(f"installation:{app.pk}:{launch.installation_id}", f"token:{app.pk}:{token_hash.hex()}")
    steps = {"plan"}
    user, new_of_user = None, False
    if launch.user is not None:
        kept = keep_user(app, launch.user.external_id, launch.user.given, launch.user.dataverse_id)
        user, new_of_user = kept.user, kept.created or kept.changed
        steps |= kept.steps
    # Both rows that this post may write, locked in the order of their ids: two phones that swap tokens do not
    # deadlock.
    rows = list(
        Device.objects.select_for_update(no_key=True)
        .filter(Q(installation_id=launch.installation_id) | Q(token_hash=token_hash, retired_at__isnull=True), app=app)
        .order_by("pk")
    )
    device = next((row for row in rows if row.installation_id == launch.installation_id), None)
    retire(Q(pk__in=[row.pk for row in rows if row is not device]), RetiredReason.TOKEN_MOVED)
    announce(steps)
    if device is None:
        return _create(app, launch, token_hash, user)
    named = user.pk if user else None
    user_id = device.user_id if _keeps_user(device, launch) else named
    secret = "" if launch.secret is None else installations.admit(device, launch.secret, launch.token)
    freshness.advance(device, launch.sequence, launch.user_token_issued_at)
    attached = device.user_id if device.retired_at is None else None
    # A secret handed out, or shown for the first time, is written and is no news of the device.
    repeats = not new_of_user and says_nothing_new(device, launch)
    _update_device(device, launch, token_hash, user_id)
    if device.user_id != attached:
        retire_surplus(app, device)
    return Recorded(device, Result.UNCHANGED if repeats else Result.UPDATED, secret)


def _create(app: MobileApp, launch: Launch, token_hash: bytes, user: MobileUser | None) -> Recorded:
    device = Device(
        app=app,
        installation_id=launch.installation_id,
        platform=launch.platform,
        token=launch.token,
        token_hash=token_hash,
        user=user,
        changed_by=correlation.current(),
        changed_at=timezone.now(),
        **launch.info,
        **({"last_seen": launch.seen_at} if launch.seen_at else {}),
    )
    secret = "" if launch.secret is None else installations.hand_out(device)
    freshness.advance(device, launch.sequence, launch.user_token_issued_at)
    device.save(force_insert=True)
    retire_surplus(app, device)
    return Recorded(device, Result.CREATED, secret)


def _keeps_user(device: Device, launch: Launch) -> bool:
    """Whether the device's user stays, before the installation is proven.

    Not where somebody of whom nobody knows whether the phone is theirs brings another push token: whoever learnt the id
    of an installation that a server made, and that has no secret yet, would get its user's messages.
    """
    vouched = bool(device.secret_hash) if launch.secret is not None else not launch.new_token_signs_out
    return launch.keep_user and (vouched or device.token == launch.token)


def _update_device(device: Device, launch: Launch, token_hash: bytes, user_id: int | None) -> None:
    before = (device.token, device.platform, device.user_id, device.retired_at)
    if device.token != launch.token:
        shared.note_token_change(device, token_hash)
        device.token_changed_at = timezone.now()
    device.platform, device.token, device.token_hash = launch.platform, launch.token, token_hash
    device.user_id = user_id
    if user_id is None and before[2] is not None:
        freshness.sign_out(device)
    device.retired_at, device.retired_reason = None, ""
    device.last_seen = launch.seen_at or timezone.now()
    for name, value in launch.info.items():
        setattr(device, name, value)
    if before != (device.token, device.platform, device.user_id, device.retired_at):
        _mark_changed(device)
    else:
        _confirm_again(device)
    written = ["platform", "token", "token_hash", "token_changed_at", "user", "retired_at", "retired_reason"]
    others = (*shared.FIELDS, *freshness.FIELDS, *installations.FIELDS)
    device.save(update_fields=[*written, "last_seen", *CHANGED, *others, *launch.info])
