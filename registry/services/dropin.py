"""Microsoft's own registration calls, taken in its stead: apps that post straight to CI-J change only the host name.

They name a Dataverse record instead of a user, and prove themselves by the app's ApiToken, which lies in their binary.
So whoever reads it there can register a phone of theirs for anybody: off, unless an app is switched on (`drop_in`).

What they post goes the way of every launch. The installation's id is made of the token, the user's of the record, and
the mapping is given instead of looked up. MicrosoftDocs/customer-insights, ci-docs/journeys:
developer-push-device-registration.md and developer-push-interactions.md.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from registry.crypto import sha256
from registry.models import Device, MobileApp, secret_columns
from registry.services.api_tokens import proves
from registry.services.desired import device_status
from registry.services.ingest import Launch, LaunchUser, record_launch, retire_device
from registry.states import DeviceState, FailureReason

INSTALLATION = "dropin:"
USER = "dataverse:"
FAILED_TO_STORE = "FailedToStoreDevice"
THEIR_REASONS = (FailureReason.DRY_RUN, FailureReason.TOKEN_TOO_LONG)


class NotThisApp(Exception):
    """No app of the organisation has these ids and this ApiToken."""


class SwitchedOff(Exception):
    """The app is proven, and does not take part."""


@dataclass(frozen=True)
class Outcome:
    """What Microsoft's status call says of one registration; `reason` only where it failed."""

    status: str
    reason: str = ""


def find_app(org_id: uuid.UUID, mobile_app_id: uuid.UUID, api_token: str) -> MobileApp:
    """The app that these prove. Raises NotThisApp, alike whatever is wrong, and SwitchedOff."""
    app = MobileApp.objects.filter(org_id=org_id, mobile_app_id=mobile_app_id, replaced_by=None).first()
    # Compared also where there is no app: the time that it takes does not tell which ids there are.
    if not proves(app, api_token) or app is None:
        raise NotThisApp
    if not app.drop_in:
        raise SwitchedOff
    return app


def request_id(app: MobileApp, token: str) -> uuid.UUID:
    """The RegistrationRequestId of a token: it names the device, and so it need not be kept."""
    return uuid.UUID(bytes=sha256(f"{app.pk}:{token}")[:16], version=5)


def register(app: MobileApp, dataverse_id: uuid.UUID, platform: str, token: str) -> uuid.UUID:
    """Take a registration of a normalised token; return its request id."""
    number = request_id(app, token)
    user = LaunchUser(f"{USER}{dataverse_id}", dataverse_id=dataverse_id)
    record_launch(app, Launch(f"{INSTALLATION}{number}", platform, token, user))
    return number


def clean_up(app: MobileApp, dataverse_id: uuid.UUID, token: str) -> None:
    """Retire the record's device of that token or, without one, all of its devices; none that was not made here."""
    devices = Device.objects.filter(
        app=app, installation_id__startswith=INSTALLATION, user__external_id=f"{USER}{dataverse_id}"
    )
    if token:
        # An APNs token is kept in lower case; which platform this one is of is not said.
        devices = devices.filter(token_hash__in=[sha256(token), sha256(token.lower())])
    for device in devices.filter(retired_at=None).order_by("pk"):
        retire_device(device)


def outcomes(app: MobileApp, request_ids: Sequence[uuid.UUID]) -> list[Outcome]:
    """What became of registrations, in their order. One that nobody knows is pending, as at Microsoft."""
    names = [f"{INSTALLATION}{number}" for number in request_ids]
    devices = {
        device.installation_id: device
        for device in Device.objects.select_related("user").filter(app=app, installation_id__in=names)
    }
    return [_outcome(devices.get(name)) for name in names]


def _outcome(device: Device | None) -> Outcome:
    status = device_status(device) if device else None
    if status is None or status.state not in (DeviceState.REGISTERED, DeviceState.FAILED):
        return Outcome("Pending")
    if status.state is DeviceState.REGISTERED:
        return Outcome("Success")
    return Outcome("Failed", status.code if status.code in THEIR_REASONS else FAILED_TO_STORE)


def app_of_token(org_id: uuid.UUID, token: str) -> MobileApp | None:
    """The organisation's app, among those switched on, that has or had a device of that token."""
    hashes = [sha256(token), sha256(token.lower())]
    device = (
        Device.objects.select_related("app")
        .defer(*secret_columns("app__"))
        .filter(app__org_id=org_id, app__drop_in=True, token_hash__in=hashes)
        .order_by("-retired_at")
        .first()
    )
    return device.app if device else None
