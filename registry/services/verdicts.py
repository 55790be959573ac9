"""Will this phone get the push? One sentence a device: yes, or the first thing that prevents it, and what to do.

Pure functions over rows that were read before (`registry.services.explain` reads them): nothing here asks the database.
The checks stand in the order in which a push would meet them; the first that applies is the verdict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from registry.models import DataverseMapping, Device, MobileApp, MobileUser, Pause, Registration
from registry.services.desired import Target, target
from registry.services.pausing import next_probe
from registry.states import FailureReason, Identity, MappingState, PauseReason, RegistrationState, RetiredReason

CIJ = "Customer Insights - Journeys"
SLOW = timedelta(minutes=5)  # what is due for longer than this waits for workers


class Tone(StrEnum):
    """How a verdict is to be read at a glance."""

    GOOD = "good"
    WAIT = "wait"  # goes on by itself
    ACT = "act"  # somebody has to do something


@dataclass(frozen=True)
class Verdict:
    """What stands between a device and a push. `to_do` says who has to do what; empty: nobody has to.

    `since` is when that began, where it is known; `until` when it is looked at again.
    """

    code: str
    tone: Tone
    what: str
    to_do: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def receives(self) -> bool:
        return self.tone is Tone.GOOD


@dataclass(frozen=True)
class Facts:
    """All that the verdict on one device follows from. `registration` is that of the device's target, `holders` others
    that may still hold its token at CI-J, also under replaced connections; `pauses` what rests now."""

    app: MobileApp
    device: Device
    now: datetime
    user: MobileUser | None = None
    mapping: DataverseMapping | None = None
    registration: Registration | None = None
    holders: Sequence[Registration] = ()
    pauses: Sequence[Pause] = field(default=())
    has_issuer: bool = True


def verdict(facts: Facts) -> Verdict:
    """The one answer; the first check that applies."""
    return next(found for check in _CHECKS if (found := check(facts)) is not None)


_RETIRED = {
    RetiredReason.DELETED: ("The app, or its server, deleted this device.", "It lives again when its app is opened."),
    RetiredReason.BY_HAND: ("A person retired this device in the admin.", "It lives again when its app is opened."),
    RetiredReason.TOKEN_MOVED: (
        "Another installation posted the same push token later, and has it now.",
        "Look at the newer installation; this one lives again when it posts a token of its own.",
    ),
    RetiredReason.STALE: (
        "The device was not seen for so long that its token counts as dead.",
        "It lives again when its app is opened.",
    ),
    RetiredReason.TOO_MANY: (
        "Its user has more devices than the app allows, and this one was not seen for longest.",
        "It lives again when its app is opened; the app's limit is max_devices_per_user.",
    ),
}


def _erased(facts: Facts) -> Verdict | None:
    if facts.device.erasure_id is None and facts.device.retired_reason != RetiredReason.ERASED:
        return None
    return Verdict(
        "erased",
        Tone.ACT,
        "Its user was erased; what is left waits until CI-J has accepted the cleanup.",
        "Nothing: the phone comes back as a new device when its app is opened.",
        since=facts.device.retired_at,
    )


def _retired(facts: Facts) -> Verdict | None:
    device = facts.device
    if device.retired_at is None:
        return None
    what, to_do = _RETIRED.get(
        RetiredReason(device.retired_reason or RetiredReason.DELETED), ("The device is retired.", "")
    )
    return Verdict(f"retired:{device.retired_reason}", Tone.ACT, what, to_do, since=device.retired_at)


def _nobody(facts: Facts) -> Verdict | None:
    if facts.user is not None:
        return None
    if facts.app.identity == Identity.JWT and not facts.has_issuer:
        return Verdict(
            "no_issuer",
            Tone.ACT,
            "Nobody is signed in on this device, and nobody can be: no issuer of signed tokens is set up for the app.",
            "An administrator: set up who signs the users' tokens.",
        )
    return Verdict(
        "no_user",
        Tone.ACT,
        "Nobody is signed in on this device, so there is nobody whose messages it could get.",
        "The user: sign in in the app. If they are, the app does not say so in its launch.",
    )


def _opted_out(facts: Facts) -> Verdict | None:
    if facts.user is None or facts.user.push_consent:
        return None
    return Verdict(
        "opted_out",
        Tone.ACT,
        "The user has opted out of push notifications.",
        "The user: consent to them in the app.",
    )


def _mapping(facts: Facts) -> Verdict | None:
    mapping = facts.mapping
    if isinstance(target(facts.device, facts.user, mapping), Target):
        return None
    if mapping is not None and mapping.state == MappingState.AMBIGUOUS:
        return Verdict(
            "ambiguous",
            Tone.ACT,
            mapping.detail or "Several active Dataverse records match this user.",
            "Somebody: choose the right one under Unresolved users, or merge the duplicates in Dynamics.",
            since=mapping.checked_at,
            until=mapping.due_at,
        )
    if (rests := _environment_pause(facts)) is not None:
        return _paused(
            "environment_paused", f"The user waits to be looked up in Dataverse, which rests: {_why(rests)}", rests
        )
    if mapping is not None and mapping.state == MappingState.NOT_FOUND:
        return Verdict(
            "not_found",
            Tone.ACT,
            mapping.detail or "No active Dataverse record matches this user's e-mail or phone.",
            "Somebody: correct the user's e-mail or phone, add the record in Dynamics, or pin one under Unresolved "
            "users.",
            since=mapping.checked_at,
            until=mapping.due_at,
        )
    due = mapping.due_at if mapping else None
    return _queued(facts, "mapping", "The user is about to be looked up in Dataverse.", due)


def _registered(facts: Facts) -> Verdict | None:
    row = facts.registration
    if row is None or row.state != RegistrationState.REGISTERED or not row.desired or _misplaced(row):
        return None
    what = f"Will receive: {CIJ} confirmed the registration."
    if row.in_flight or row.due_at is not None:
        what = f"Will receive: {CIJ} confirmed the registration, and is being asked to once more."
    return Verdict("registered", Tone.GOOD, what, since=row.registered_at)


def _failed(facts: Facts) -> Verdict | None:
    row = facts.registration
    if row is None or not row.desired or row.state != RegistrationState.FAILED or row.due_at is not None:
        return None
    what, to_do = _FAILED.get(row.reason, (f"{CIJ} refused the registration: {row.detail or row.reason}.", ""))
    return Verdict(f"failed:{row.reason}", Tone.ACT, what, to_do, since=row.decided_at)


_FAILED: dict[str, tuple[str, str]] = {
    FailureReason.DRY_RUN.value: (
        f"{CIJ} rejected the token: its test message failed, so the token is wrong or expired.",
        "Nobody, for a single device: it is tried again when the phone posts a new token (reinstalling the app makes "
        "one). Where many fail, renew the app's push credentials in CI-J.",
    ),
    FailureReason.TOKEN_TOO_LONG.value: (
        f"{CIJ} cannot store the token: it is too long.",
        "The app's developers: on iOS post the raw APNs token, not Firebase's.",
    ),
    FailureReason.REFUSED.value: (
        f"{CIJ} refused this registration (HTTP 400) while others passed.",
        "The app's developers: see whether the token is one of this app and platform.",
    ),
    FailureReason.UNKNOWN.value: (
        f"{CIJ} never said what became of the registration, in several rounds.",
        "An administrator: check the ApiToken first (Test connection on the app's page), then whether the CRM is "
        "throttled; then resume the app.",
    ),
}


def _app_paused(facts: Facts) -> Verdict | None:
    row = facts.registration
    for pause in facts.pauses:
        if pause.app_id != facts.app.pk or pause.platform not in ("", facts.device.platform):
            continue
        what = "platform" if pause.platform else "app"
        place = f"{pause.get_platform_display()} of this app" if pause.platform else "This app"
        sent = row is not None and row.state == RegistrationState.SENT
        waits = "the outcome of the registration cannot be asked for" if sent else "the registration waits"
        if sent and pause.platform:
            continue  # outcomes are asked for all the same
        return _paused(f"{what}_paused", f"{place} is paused, so {waits}: {_why(pause)}", pause)
    return None


def _held_by_another(facts: Facts) -> Verdict | None:
    row = facts.registration
    if row is not None and row.state not in (
        RegistrationState.READY,
        RegistrationState.FAILED,
        RegistrationState.RETIRED,
    ):
        return None
    for holder in facts.holders:
        if holder.app_id != facts.app.pk:
            return Verdict(
                "replaced_connection",
                Tone.WAIT,
                "The connection that the app had before may still hold this token: it is cleaned up there first.",
                "Nobody, as long as the old connection answers; where it is gone for good give it up with "
                "manage.py abandon_connection.",
                since=holder.desired_changed_at,
                until=holder.due_at,
            )
        if row is None or holder.dataverse_id != row.dataverse_id:
            return Verdict(
                "hand_over",
                Tone.WAIT,
                f"The phone has changed hands: {CIJ} has to forget the former user's registration first.",
                since=holder.desired_changed_at,
                until=holder.due_at,
            )
    return None


def _on_its_way(facts: Facts) -> Verdict | None:
    row = facts.registration
    if row is None or not row.desired or facts.device.revision != facts.device.planned_revision:
        return None
    if row.state == RegistrationState.RETIRING or _misplaced(row):
        what = "A former registration of this token is being cleaned up; it is registered again right after that."
        return _queued(facts, "cleaning_up", what, row.due_at)
    if row.state == RegistrationState.SENT:
        return Verdict(
            "sent",
            Tone.WAIT,
            f"Sent: {CIJ} accepted the registration and has not said yet what became of it.",
            since=row.sent_at,
            until=row.due_at,
        )
    if row.attempts and row.detail:
        return Verdict(
            "retrying",
            Tone.WAIT,
            f"The last attempt to register failed ({row.detail}); it is tried again.",
            since=row.desired_changed_at,
            until=row.due_at,
        )
    return _queued(facts, "queued", "The registration is queued, and about to be sent.", row.due_at)


def _to_be_planned(facts: Facts) -> Verdict:
    return _queued(facts, "planning", "The device's last change is about to be worked off.", None)


_CHECKS: tuple[Callable[[Facts], Verdict | None], ...] = (
    _erased,
    _retired,
    _nobody,
    _opted_out,
    _mapping,
    _registered,
    _failed,
    _app_paused,
    _held_by_another,
    _on_its_way,
    _to_be_planned,
)


def _misplaced(row: Registration) -> bool:
    """Held, or on its way, as another platform's token: that is cleaned up first."""
    return row.maybe_held and row.sent_platform not in ("", row.platform)


def _environment_pause(facts: Facts) -> Pause | None:
    return next((pause for pause in facts.pauses if pause.environment_id == facts.app.dataverse_id), None)


def _why(pause: Pause) -> str:
    detail = f" ({pause.detail})" if pause.detail else ""
    return f"{pause.get_reason_display()}{detail}."


def _paused(code: str, what: str, pause: Pause) -> Verdict:
    return Verdict(
        code,
        Tone.ACT,
        what,
        TO_MEND.get(PauseReason(pause.reason), ""),
        since=pause.created_at,
        until=next_probe(pause),
    )


# Who has to do what, where something rests.
TO_MEND = {
    PauseReason.THROTTLED: "Nobody, at first: it goes on by itself. Where it comes back, lower the app's call rate.",
    PauseReason.CREDENTIALS: (
        "An administrator: renew the client secret in Entra ID, or the ApiToken in CI-J, and store it in the admin."
    ),
    PauseReason.CONFIGURATION: (
        "An administrator: compare organisation, mobile app id and ApiToken with the app's Developer information tab; "
        "Test connection on the app's page says which is wrong."
    ),
    PauseReason.UNAVAILABLE: "Operations: see whether Microsoft's side and the way there are up. It goes on by itself.",
    PauseReason.MAPPINGS_LOST: (
        "An administrator: give tokenhub's application user its read privileges back. Were the records really deleted, "
        "resume the app: that accepts it."
    ),
    PauseReason.DRY_RUN: "An administrator: renew the app's push credentials (APNs or Firebase) in CI-J.",
    PauseReason.BY_HAND: "Whoever paused it: resume it on the app's page.",
}


def _queued(facts: Facts, code: str, what: str, due: datetime | None) -> Verdict:
    """Something that workers do in a moment; where they are late for long, they are at fault."""
    if due is not None and facts.now - due > SLOW:
        late = f"{what} It is due for {_minutes(facts.now - due)}, and no worker has taken it."
        return Verdict(f"{code}:stalled", Tone.ACT, late, "Operations: see whether the workers run.", since=due)
    return Verdict(code, Tone.WAIT, what, since=due if due and due <= facts.now else None, until=due)


def _minutes(wait: timedelta) -> str:
    minutes = int(wait.total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
