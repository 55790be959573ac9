"""All that is held about one user, for whoever has to tell them (GDPR, article 15)."""

from typing import Any

from django.db.models import Q

from registry.models import DataverseMapping, Device, InteractionEvent, MobileApp, MobileUser, Registration
from registry.services import history

_DEVICE = (
    *("installation_id", "platform", "token", "app_version", "os_version", "model", "locale", "time_zone"),
    *("created_at", "last_seen", "token_changed_at", "retired_at", "retired_reason"),
)
_MAPPING = ("state", "table", "dataverse_id", "matched_by", "candidates", "detail", "checked_at")
_REGISTRATION = (
    *("table", "dataverse_id", "platform", "token", "desired", "state", "reason", "detail"),
    *("created_at", "sent_at", "registered_at", "cleaned_at"),
)
_EVENT = ("token", "status", "tracking_id", "message_id", "occurred_at", "received_at", "state", "reason", "relayed_at")


def find_user(app: MobileApp, external_id: str) -> MobileUser | None:
    """The app's user of that id."""
    return MobileUser.objects.filter(app=app, external_id=external_id).first()


def profile(user: MobileUser) -> dict[str, Any]:
    """What the app told of the user; what is not known is null."""
    return {
        "id": user.external_id,
        "email": user.email or None,
        "phone": user.phone or None,
        "push_consent": user.push_consent,
        "tracking_consent": user.tracking_consent,
        "created_at": user.created_at,
    }


def export_user(user: MobileUser) -> dict[str, Any]:
    """Everything: the profile, the Dataverse record, the devices, what CI-J was told of them, and their events.

    The events are those of the user's present devices, which may have had another user before. Five queries, whatever
    there is.
    """
    mapping = DataverseMapping.objects.filter(user=user).first()
    devices = list(Device.objects.filter(user=user).order_by("pk"))
    mine = Q(device__in=devices)
    if mapping is not None and mapping.dataverse_id is not None:
        # Another user may be the same record; what their devices desire is theirs.
        mine |= Q(dataverse_id=mapping.dataverse_id) & (Q(desired=False) | Q(device__isnull=True))
    registrations = Registration.objects.filter(mine, app=user.app_id).order_by("pk")
    events = InteractionEvent.objects.filter(device__in=devices).order_by("pk")
    return {
        **profile(user),
        "mapping": _fields(mapping, _MAPPING) if mapping else None,
        "devices": [_fields(device, _DEVICE) for device in devices],
        "registrations": [_fields(row, _REGISTRATION) for row in registrations],
        "events": [_fields(row, _EVENT) for row in events],
        "history": list(history.of_user(user, devices)),
    }


def _fields(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
