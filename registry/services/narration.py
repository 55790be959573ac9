"""What happened, a sentence a line: what an entry of the history says, and what rows say of their calls to CI-J.

Pure functions. An entry holds neither names nor addresses; whoever shows it says who its user is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_datetime

from registry.models import HistoryEntry, InteractionEvent, Registration
from registry.models.devices import TOKEN_END
from registry.services.verdicts import Tone
from registry.states import (
    EventState,
    FailureReason,
    HistoryKind,
    MappingState,
    PauseReason,
    Platform,
    RegistrationState,
    RetiredReason,
)


@dataclass(frozen=True)
class Moment:
    """One line of the timeline. `device` and `registration` are ids; `by` is the person who decided it."""

    at: datetime
    tone: Tone
    what: str
    device: int | None = None
    token_end: str = ""
    by: str = ""
    registration: int | None = None


def moment(row: HistoryEntry, user: str = "", record: str = "") -> Moment:
    """The line of an entry; `user` names its user, `record` the Dataverse record of its registration."""
    tone, what = _SAY[HistoryKind(row.kind)]({**(row.data or {}), "at": row.at}, user, record)
    return Moment(row.at, tone, what, row.device_id, row.token_end, row.by, row.registration_id)


def undecided(row: Registration, record: str = "") -> Moment | None:
    """The line of a call to CI-J whose outcome is not known yet; None where there is none.

    The registration's own columns say all of it: nothing is written for a call that goes well. Its request id is there
    from CI-J's 202 until the outcome, whatever a cleanup makes of the state meanwhile.
    """
    at, what = row.sent_at, ""
    if row.request_id is not None:
        again = f"; it is asked again at {row.due_at:%H:%M:%S} UTC" if row.due_at and not row.in_flight else ""
        what = (
            f"CI-J accepted the registration{_for(record)}, request {row.request_id}, and has not decided yet{again}."
        )
    elif row.in_flight and row.state == RegistrationState.READY:
        what = f"The registration{_for(record)} is being sent to CI-J."
    elif row.in_flight and row.state == RegistrationState.RETIRING:
        at, what = row.cleanup_sent_at, f"CI-J is being asked to forget the registration{_for(record)}."
    if at is None or not what:
        return None
    return Moment(at, Tone.WAIT, what, row.device_id, row.token[-TOKEN_END:], registration=row.pk)


def reported(row: InteractionEvent) -> Moment | None:
    """The line of an event that CI-J is told of; None where it is kept back."""
    what = f"A message was {row.status}"
    if row.state == EventState.RELAYED and row.relayed_at:
        tone, then = Tone.GOOD, f"CI-J accepted to hear of it after {_duration(row.relayed_at - row.received_at)}"
    elif row.state == EventState.FAILED:
        tone, then = Tone.ACT, f"CI-J did not take it: {row.reason}"
    elif row.state == EventState.READY:
        tone, then = Tone.WAIT, f"CI-J is to be told{f', {row.attempts} attempts were in vain' if row.attempts else ''}"
    else:
        return None
    return Moment(row.received_at, tone, f"{what}; {then}.", row.device_id, row.token[-TOKEN_END:])


type _Data = Mapping[str, Any]
type _Line = tuple[Tone, str]


def _created(data: _Data, user: str, record: str) -> _Line:
    return Tone.GOOD, f"First launch ({_platform(data)}){f', signed in as {user}' if user else ''}."


def _token_changed(data: _Data, user: str, record: str) -> _Line:
    return Tone.GOOD, f"New push token; the one before ended in {data.get('was', '?')}."


def _signed_in(data: _Data, user: str, record: str) -> _Line:
    return Tone.GOOD, f"Signed in: {user}."


def _signed_out(data: _Data, user: str, record: str) -> _Line:
    return Tone.WAIT, f"Signed out: {user}."


def _platform_changed(data: _Data, user: str, record: str) -> _Line:
    return Tone.WAIT, f"The platform was corrected to {_platform(data)}."


def _retired(data: _Data, user: str, record: str) -> _Line:
    return Tone.ACT, f"Retired: {_label(RetiredReason, data.get('reason'))}."


def _back(data: _Data, user: str, record: str) -> _Line:
    return Tone.GOOD, "Posted again, and lives again."


def _shared(data: _Data, user: str, record: str) -> _Line:
    return Tone.ACT, "Two phones post this installation id, as far as their tokens tell."


_FIELDS = {"email": "e-mail address", "phone": "phone number", "push_consent": "push", "tracking_consent": "tracking"}


def _user_changed(data: _Data, user: str, record: str) -> _Line:
    said = []
    for name, value in data.items():
        if name in ("email", "phone"):
            said.append(f"{'another' if value else 'no'} {_FIELDS[name]}{'' if value else ' any more'}")
        elif name in _FIELDS:
            said.append(f"{'consented to' if value else 'opted out of'} {_FIELDS[name]}")
    refuses = data.get("push_consent") is False
    return (Tone.ACT if refuses else Tone.WAIT), f"The user changed: {', '.join(said)}."


def _mapping_changed(data: _Data, user: str, record: str) -> _Line:
    state = data.get("state")
    why = f" {data['why']}" if data.get("why") else ""
    if state == MappingState.MAPPED:
        how = {"email": ", by e-mail", "phone": ", by phone", "given": ", given by the app"}.get(data.get("by", ""), "")
        return Tone.GOOD, f"Mapped to {data.get('table') or 'record'} {data.get('id')}{how}.{why}"
    if state == MappingState.AMBIGUOUS:
        return Tone.ACT, why.strip() or f"{data.get('candidates')} active records match: ambiguous."
    if state == MappingState.NOT_FOUND:
        return Tone.ACT, why.strip() or "No record found in Dataverse; looked for again."
    return Tone.WAIT, "To be looked up in Dataverse."


def _mapping_decided(data: _Data, user: str, record: str) -> _Line:
    if data.get("state") == MappingState.MAPPED:
        return Tone.GOOD, f"Pinned by hand to {data.get('table')} {data.get('id')}."
    return Tone.WAIT, "Dataverse is asked again, by hand."


def _registered(data: _Data, user: str, record: str) -> _Line:
    return Tone.GOOD, f"CI-J confirmed the registration{_for(record)}{_after(data)}."


def _failed(data: _Data, user: str, record: str) -> _Line:
    known = data.get("reason") in FailureReason.values
    reason = data.get("reason") if known else data.get("why") or data.get("reason")
    return Tone.ACT, f"CI-J refused the registration{_for(record)}: {reason}{_after(data)}."


_STEPS = {"push": "Registering", "confirm": "Asking for the outcome", "cleanup": "Cleaning up"}


def _not_answered(data: _Data, user: str, record: str) -> _Line:
    attempt = data.get("attempt", 1)
    times = "" if attempt == 1 else f", attempt {attempt}"
    return Tone.WAIT, f"{_STEPS.get(data.get('step', ''), 'A call')} in vain{times}: {data.get('why') or 'no answer'}."


def _no_outcome(data: _Data, user: str, record: str) -> _Line:
    return Tone.WAIT, f"CI-J had not said what became of the registration{_after(data)}: it is sent again."


def _cleaned_up(data: _Data, user: str, record: str) -> _Line:
    if data.get("why"):
        return Tone.WAIT, f"CI-J was asked to forget the registration{_for(record)}: {data['why']}."
    return Tone.GOOD, f"CI-J accepted to forget the registration{_for(record)}."


def _pause_ended(data: _Data, user: str, record: str) -> _Line:
    subject = "Dataverse" if data.get("environment") else "The app"
    if data.get("platform"):
        subject = f"{_platform(data)} of the app"
    why = f" ({data['why']})" if data.get("why") else ""
    return (
        Tone.WAIT,
        f"{subject} had been paused since {_time(data.get('since'))}: {_label(PauseReason, data['reason'])}{why}.",
    )


_SAY = {
    HistoryKind.CREATED: _created,
    HistoryKind.TOKEN_CHANGED: _token_changed,
    HistoryKind.SIGNED_IN: _signed_in,
    HistoryKind.SIGNED_OUT: _signed_out,
    HistoryKind.PLATFORM_CHANGED: _platform_changed,
    HistoryKind.RETIRED: _retired,
    HistoryKind.BACK: _back,
    HistoryKind.SHARED: _shared,
    HistoryKind.USER_CHANGED: _user_changed,
    HistoryKind.MAPPING_CHANGED: _mapping_changed,
    HistoryKind.MAPPING_DECIDED: _mapping_decided,
    HistoryKind.REGISTERED: _registered,
    HistoryKind.FAILED: _failed,
    HistoryKind.NOT_ANSWERED: _not_answered,
    HistoryKind.NO_OUTCOME: _no_outcome,
    HistoryKind.CLEANED_UP: _cleaned_up,
    HistoryKind.PAUSE_ENDED: _pause_ended,
}


def _platform(data: _Data) -> str:
    return _label(Platform, data.get("platform"))


def _label(choices: Any, value: Any) -> str:
    return str(choices(value).label) if value in choices.values else str(value)


def _for(record: str) -> str:
    return f" for {record}" if record else ""


def _after(data: _Data) -> str:
    """How long it took since the registration was sent."""
    sent = parse_datetime(str(data.get("sent")))
    return "" if sent is None else f", {_duration(data['at'] - sent)} after it was sent"


def _duration(wait: timedelta) -> str:
    seconds = max(wait.total_seconds(), 0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _time(text: Any) -> str:
    moment = parse_datetime(str(text))
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "?"
