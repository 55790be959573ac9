"""The desired set as a pure function, and the one answer to "will this phone get the push?"."""

import uuid
from dataclasses import dataclass

from registry.models import DataverseMapping, Device, MobileUser, Registration
from registry.states import DeviceState, FailureReason, MappingState, RegistrationState

_BY_MAPPING = {
    MappingState.PENDING.value: DeviceState.MAPPING,
    MappingState.AMBIGUOUS.value: DeviceState.AMBIGUOUS,
    MappingState.NOT_FOUND.value: DeviceState.NOT_FOUND,
}
_BY_REGISTRATION = {
    RegistrationState.REGISTERED.value: DeviceState.REGISTERED,
    RegistrationState.FAILED.value: DeviceState.FAILED,
}


@dataclass(frozen=True)
class Target:
    """The Dataverse record that a device's messages are for."""

    table: str
    dataverse_id: uuid.UUID


def target(device: Device, user: MobileUser | None, mapping: DataverseMapping | None) -> Target | DeviceState:
    """Whom to register the device for, or the first state that prevents it."""
    if device.retired_at is not None:
        return DeviceState.RETIRED
    if user is None:
        return DeviceState.NO_USER
    if not user.push_consent:
        return DeviceState.OPTED_OUT
    if mapping is None or mapping.dataverse_id is None or mapping.state != MappingState.MAPPED:
        return _BY_MAPPING.get(mapping.state, DeviceState.MAPPING) if mapping else DeviceState.MAPPING
    return Target(mapping.table, mapping.dataverse_id)


@dataclass(frozen=True)
class DeviceStatus:
    """A device's state and the reason in plain words; `code` is CI-J's word for a failure."""

    state: DeviceState
    reason: str
    code: str = ""


def device_status(device: Device) -> DeviceStatus:
    """What stands between this device and a push. Reads the device's user, mapping and registration."""
    mapping = DataverseMapping.objects.filter(user_id=device.user_id).first() if device.user_id else None
    wanted = target(device, device.user, mapping)
    if isinstance(wanted, DeviceState):
        return DeviceStatus(wanted, (mapping.detail if mapping and wanted == mapping.state else "") or wanted.label)
    registration = Registration.objects.filter(
        app_id=device.app_id, dataverse_id=wanted.dataverse_id, token_hash=bytes(device.token_hash)
    ).first()
    state = _BY_REGISTRATION.get(registration.state, DeviceState.PENDING) if registration else DeviceState.PENDING
    if registration and state is DeviceState.FAILED:
        known = registration.reason in FailureReason.values
        said = FailureReason(registration.reason).label if known else registration.detail
        return DeviceStatus(state, said, registration.reason)
    return DeviceStatus(state, state.label)
