"""Everything about one user, or one device that nobody is signed in on, and the verdict on each device.

A handful of queries, whatever there is. The verdicts themselves are pure functions (`registry.services.verdicts`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F, Q

from registry.models import (
    DataverseMapping,
    Device,
    MobileApp,
    MobileUser,
    Pause,
    Registration,
    ReplacedConnection,
    TokenIssuer,
)
from registry.services import clock
from registry.services.desired import Target, target
from registry.services.pausing import all_open_pauses
from registry.services.verdicts import Facts, Verdict, verdict

MOST_DEVICES = 50
MOST_REGISTRATIONS = 100


@dataclass(frozen=True)
class DeviceView:
    """One device, its verdict, and all that CI-J was told of it, the newest first."""

    device: Device
    verdict: Verdict
    registrations: Sequence[Registration]


@dataclass(frozen=True)
class Explanation:
    """What there is to say. `more` is whether there are more devices than these."""

    app: MobileApp
    user: MobileUser | None
    mapping: DataverseMapping | None
    devices: Sequence[DeviceView]
    more: bool
    pauses: Sequence[Pause]

    @property
    def living(self) -> int:
        """How many of the devices are not retired."""
        return sum(view.device.retired_at is None for view in self.devices)

    @property
    def receiving(self) -> int:
        """How many of them will receive a push."""
        return sum(view.verdict.receives for view in self.devices)


def explain_user(user: MobileUser) -> Explanation:
    """The user with their devices, those that live and were seen last before the others."""
    newest = F("retired_at").desc(nulls_first=True)
    devices = list(Device.objects.filter(user=user).order_by(newest, "-last_seen")[: MOST_DEVICES + 1])
    mapping = DataverseMapping.objects.filter(user=user).first()
    return _explain(user.app, user, mapping, devices)


def explain_device(device: Device) -> Explanation:
    """The device alone, with its user where there is one."""
    mapping = DataverseMapping.objects.filter(user_id=device.user_id).first() if device.user_id else None
    return _explain(device.app, device.user, mapping, [device])


def _explain(
    app: MobileApp, user: MobileUser | None, mapping: DataverseMapping | None, found: Sequence[Device]
) -> Explanation:
    devices = found[:MOST_DEVICES]
    hashes = [bytes(device.token_hash) for device in devices]
    connections = [app.pk, *ReplacedConnection.objects.filter(replaced_by=app).values_list("pk", flat=True)]
    rests = Q(app=app) | Q(environment=app.dataverse_id)
    pauses = list(all_open_pauses().filter(rests).order_by("created_at"))
    told = Registration.objects.filter(device__in=devices).order_by("-created_at")[:MOST_REGISTRATIONS]
    registrations = list(told)
    # Said of each half, so that both go by their partial index.
    of_token = Q(app__in=connections, token_hash__in=hashes)
    of_tokens = list(Registration.objects.filter(of_token & Q(maybe_held=True) | of_token & Q(desired=True)))
    now, has_issuer = clock.now(), TokenIssuer.objects.filter(app=app).exists()

    def view(device: Device) -> DeviceView:
        wanted = target(device, user, mapping)
        record = wanted.dataverse_id if isinstance(wanted, Target) else None
        same = [row for row in of_tokens if bytes(row.token_hash) == bytes(device.token_hash)]
        mine = next((row for row in same if row.app_id == app.pk and row.dataverse_id == record), None)
        holders = [row for row in same if row.maybe_held and row is not mine]
        facts = Facts(app, device, now, user, mapping, mine, holders, pauses, has_issuer)
        return DeviceView(device, verdict(facts), [row for row in registrations if row.device_id == device.pk])

    return Explanation(app, user, mapping, [view(device) for device in devices], len(found) > MOST_DEVICES, pauses)
