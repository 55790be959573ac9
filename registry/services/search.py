"""One box for what a person has in hand: e-mail, phone, app user id, Dataverse id, installation id, token or its end.

Every look-up is one of an index, however many rows there are; what the text cannot be is not looked up. Each is bounded
to the apps that the person may see.
"""

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.db.models.functions import Lower, Right

from registry.crypto import sha256
from registry.models import Device, MobileApp, MobileUser, Registration
from registry.models.devices import TOKEN_END
from registry.services.errors import InvalidInput
from registry.services.normalise import email_address, phone_number

MOST = 20  # of each kind
MAX_TEXT = 400


@dataclass(frozen=True)
class Hit:
    """Somebody, or a device that nobody is signed in on, and what they were found by."""

    found_by: str
    app: MobileApp
    user: MobileUser | None = None
    device: Device | None = None


def search(text: str, apps: Sequence[MobileApp]) -> list[Hit]:
    """Whom or what the text names in these apps, each once."""
    found: dict[tuple[str, int], Hit] = {}
    known = {app.pk: app for app in apps}
    for found_by, row in _each(text, known):
        user = row if isinstance(row, MobileUser) else row.user
        device = row if isinstance(row, Device) and user is None else None
        key = ("user", user.pk) if user else ("device", row.pk)
        found.setdefault(key, Hit(found_by, known[row.app_id], user, device))
    return list(found.values())


def find(text: str, apps: Sequence[MobileApp]) -> Iterator[MobileUser | Device]:
    """The users and devices that the text names in these apps, each as often as it is found."""
    for _, row in _each(text, {app.pk: app for app in apps}):
        yield row


type _Apps = dict[int, MobileApp]
type _Found = Iterable[MobileUser | Device]


def _each(text: str, apps: _Apps) -> Iterator[tuple[str, MobileUser | Device]]:
    spelled = text.strip().strip("…").strip()
    if spelled and len(spelled) <= MAX_TEXT and "\x00" not in spelled:
        for found_by, look_up in _LOOK_UPS:
            for row in look_up(spelled, apps):
                yield found_by, row


def _by_email(text: str, apps: _Apps) -> _Found:
    if "@" not in text:
        return []
    try:
        address = email_address("q", text)
    except InvalidInput:
        address = text
    # By the index of lower(email).
    return MobileUser.objects.alias(folded=Lower("email")).filter(folded=address.lower(), app__in=apps)[:MOST]


def _by_phone(text: str, apps: _Apps) -> _Found:
    if not re.fullmatch(r"[+(\d][\d\s()/.-]{3,30}", text):
        return []
    numbers = set()
    for region in {app.default_region for app in apps.values()} | {""}:
        try:
            numbers.add(phone_number("q", text, region))
        except InvalidInput:
            continue
    return MobileUser.objects.filter(~Q(phone=""), phone__in=numbers, app__in=apps)[:MOST] if numbers else []


def _by_user_id(text: str, apps: _Apps) -> _Found:
    return MobileUser.objects.filter(external_id=text, app__in=apps)[:MOST]


def _by_installation(text: str, apps: _Apps) -> _Found:
    return Device.objects.select_related("user").filter(installation_id=text, app__in=apps)[:MOST]


def _by_record(text: str, apps: _Apps) -> Iterator[MobileUser | Device]:
    try:
        record = uuid.UUID(text)
    except ValueError:
        return
    yield from MobileUser.objects.filter(mapping__dataverse_id=record, app__in=apps)[:MOST]
    # Whoever was mapped to it before, or registered for it by Microsoft's own calls.
    told = Registration.objects.filter(dataverse_id=record, app__in=apps, device__isnull=False)
    yield from _devices(told)


def _by_token(text: str, apps: _Apps) -> Iterator[MobileUser | Device]:
    if len(text) <= TOKEN_END or not re.fullmatch(r"[!-~]+", text):
        return
    hashes = [sha256(text), sha256(text.lower())]  # APNs tokens are kept in lower case
    living = Q(retired_at=None, token_hash__in=hashes)
    yield from Device.objects.select_related("user").filter(living, app__in=apps)[:MOST]
    # A token that a phone had before, as long as CI-J may hold it.
    held = Registration.objects.filter(token_hash__in=hashes, maybe_held=True, app__in=apps, device__isnull=False)
    yield from _devices(held)


def _by_token_end(text: str, apps: _Apps) -> Iterator[Device]:
    if len(text) < TOKEN_END or not re.fullmatch(r"[!-~]+", text):
        return
    ends = {text[-TOKEN_END:], text[-TOKEN_END:].lower()}
    found = Device.objects.select_related("user").alias(end=Right("token", TOKEN_END)).filter(end__in=ends)
    for device in found.filter(app__in=apps)[:MOST]:
        if device.token.endswith((text, text.lower())):
            yield device


def _devices(registrations: "Iterable[Registration]") -> Iterator[Device]:
    devices = {row.device_id for row in registrations[:MOST]}  # type: ignore[index]
    yield from Device.objects.select_related("user").filter(pk__in=devices)


_LOOK_UPS: tuple[tuple[str, Callable[[str, _Apps], _Found]], ...] = (
    ("e-mail", _by_email),
    ("app user id", _by_user_id),
    ("installation id", _by_installation),
    ("Dataverse id", _by_record),
    ("phone", _by_phone),
    ("token", _by_token),
    ("end of the token", _by_token_end),
)
