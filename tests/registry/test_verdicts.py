"""The verdict on a device, row by row: what stands between it and a push, and who has to do what."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from registry.models import DataverseMapping, Device, MobileApp, MobileUser, Pause, Registration
from registry.services.verdicts import TO_MEND, Facts, Tone, verdict
from registry.states import FailureReason, PauseReason, RetiredReason

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=1)
LATER = NOW + timedelta(minutes=1)
ANNA, BERT = UUID(int=1), UUID(int=2)


def app(**fields: Any) -> MobileApp:
    return MobileApp(pk=1, dataverse_id=1, **{"slug": "shop", "identity": "backend", **fields})


def device(**fields: Any) -> Device:
    return Device(pk=1, app_id=1, **{"platform": "android", "revision": 2, "planned_revision": 2, **fields})


def user(**fields: Any) -> MobileUser:
    return MobileUser(pk=1, app_id=1, external_id="anna", **fields)


def mapping(state: str = "mapped", **fields: Any) -> DataverseMapping:
    found = {"dataverse_id": ANNA, "table": "contact"} if state == "mapped" else {}
    return DataverseMapping(user_id=1, state=state, **{**found, **fields})


def registration(state: str, **fields: Any) -> Registration:
    defaults = {"dataverse_id": ANNA, "platform": "android", "desired": True, "due_at": None, "sent_platform": ""}
    return Registration(pk=1, state=state, **{"app_id": 1, **defaults, **fields})


def holder(**fields: Any) -> Registration:
    return registration("retiring", **{"dataverse_id": BERT, "desired": False, "maybe_held": True, **fields})


def pause(reason: str, **fields: Any) -> Pause:
    return Pause(reason=reason, **{"until": LATER, "created_at": EARLIER, "app_id": 1, **fields})


def environment_pause(reason: str) -> Pause:
    return pause(reason, app_id=None, environment_id=1)


MAPPED = {"user": user(), "mapping": mapping()}
REPLANNED = device(revision=3)

TABLE: list[tuple[str, Tone, str, dict[str, Any]]] = [
    ("registered", Tone.GOOD, "confirmed", {**MAPPED, "registration": registration("registered")}),
    (
        "registered",
        Tone.GOOD,
        "once more",
        {**MAPPED, "registration": registration("registered", due_at=EARLIER)},
    ),
    # A pause takes nothing from what CI-J holds.
    (
        "registered",
        Tone.GOOD,
        "confirmed",
        {**MAPPED, "registration": registration("registered"), "pauses": [pause("credentials")]},
    ),
    (
        "registered",
        Tone.GOOD,
        "confirmed",
        {**MAPPED, "device": REPLANNED, "registration": registration("registered")},
    ),
    ("erased", Tone.ACT, "erased", {"device": device(retired_at=EARLIER, retired_reason="erased")}),
    (
        "retired:deleted",
        Tone.ACT,
        "deleted this device",
        {"device": device(retired_at=EARLIER, retired_reason="deleted")},
    ),
    (
        "retired:token_moved",
        Tone.ACT,
        "same push token",
        {**MAPPED, "device": device(retired_at=EARLIER, retired_reason="token_moved")},
    ),
    ("retired:stale", Tone.ACT, "not seen", {"device": device(retired_at=EARLIER, retired_reason="stale")}),
    (
        "retired:by_hand",
        Tone.ACT,
        "A person retired",
        {"device": device(retired_at=EARLIER, retired_reason="by_hand")},
    ),
    ("retired:too_many", Tone.ACT, "more devices", {"device": device(retired_at=EARLIER, retired_reason="too_many")}),
    ("no_user", Tone.ACT, "Nobody is signed in", {}),
    ("no_user", Tone.ACT, "Nobody is signed in", {"app": app(identity="jwt")}),
    ("no_issuer", Tone.ACT, "no issuer", {"app": app(identity="jwt"), "has_issuer": False}),
    ("opted_out", Tone.ACT, "opted out", {"user": user(push_consent=False), "mapping": mapping()}),
    ("mapping", Tone.WAIT, "about to be looked up", {"user": user()}),
    ("mapping", Tone.WAIT, "about to be looked up", {"user": user(), "mapping": mapping("pending", due_at=EARLIER)}),
    (
        "mapping:stalled",
        Tone.ACT,
        "due for 30 min",
        {"user": user(), "mapping": mapping("pending", due_at=NOW - timedelta(minutes=30))},
    ),
    (
        "environment_paused",
        Tone.ACT,
        "Dataverse, which rests",
        {"user": user(), "mapping": mapping("pending"), "pauses": [environment_pause("mappings_lost")]},
    ),
    ("ambiguous", Tone.ACT, "Several active", {"user": user(), "mapping": mapping("ambiguous")}),
    (
        "ambiguous",
        Tone.ACT,
        "Three active",
        {"user": user(), "mapping": mapping("ambiguous", detail="Three active records.")},
    ),
    # A person can choose while Dataverse rests.
    (
        "ambiguous",
        Tone.ACT,
        "Several active",
        {"user": user(), "mapping": mapping("ambiguous"), "pauses": [environment_pause("unavailable")]},
    ),
    ("not_found", Tone.ACT, "No active Dataverse record", {"user": user(), "mapping": mapping("not_found")}),
    ("not_found", Tone.ACT, "Neither", {"user": user(), "mapping": mapping("not_found", detail="Neither.")}),
    (
        "environment_paused",
        Tone.ACT,
        "the credentials are refused",
        {"user": user(), "mapping": mapping("not_found"), "pauses": [environment_pause("credentials")]},
    ),
    ("planning", Tone.WAIT, "worked off", {**MAPPED}),
    ("planning", Tone.WAIT, "worked off", {**MAPPED, "device": REPLANNED, "registration": registration("ready")}),
    ("planning", Tone.WAIT, "worked off", {**MAPPED, "registration": registration("retired", desired=False)}),
    ("queued", Tone.WAIT, "about to be sent", {**MAPPED, "registration": registration("ready", due_at=EARLIER)}),
    (
        "queued:stalled",
        Tone.ACT,
        "due for 3 h",
        {**MAPPED, "registration": registration("ready", due_at=NOW - timedelta(hours=3))},
    ),
    (
        "retrying",
        Tone.WAIT,
        "HTTP 500",
        {**MAPPED, "registration": registration("ready", due_at=LATER, attempts=2, detail="HTTP 500")},
    ),
    ("sent", Tone.WAIT, "accepted the registration", {**MAPPED, "registration": registration("sent", due_at=LATER)}),
    (
        "app_paused",
        Tone.ACT,
        "waits: the credentials are refused (HTTP 400)",
        {**MAPPED, "registration": registration("ready"), "pauses": [pause("credentials", detail="HTTP 400")]},
    ),
    (
        "app_paused",
        Tone.ACT,
        "the outcome",
        {**MAPPED, "registration": registration("sent"), "pauses": [pause("throttled")]},
    ),
    (
        "app_paused",
        Tone.ACT,
        "a person paused it",
        {**MAPPED, "registration": registration("ready"), "pauses": [pause("by_hand")]},
    ),
    (
        "platform_paused",
        Tone.ACT,
        "Android of this app is paused",
        {**MAPPED, "registration": registration("ready"), "pauses": [pause("dry_run", platform="android")]},
    ),
    # The other platform's pause, and another app's, are nothing to this device.
    (
        "queued",
        Tone.WAIT,
        "about to be sent",
        {
            **MAPPED,
            "registration": registration("ready", due_at=EARLIER),
            "pauses": [pause("dry_run", platform="ios"), pause("credentials", app_id=2)],
        },
    ),
    # Outcomes are asked for while a platform rests.
    (
        "sent",
        Tone.WAIT,
        "accepted",
        {**MAPPED, "registration": registration("sent"), "pauses": [pause("dry_run", platform="android")]},
    ),
    (
        "hand_over",
        Tone.WAIT,
        "forget the former user",
        {**MAPPED, "registration": registration("ready", due_at=EARLIER), "holders": [holder()]},
    ),
    ("hand_over", Tone.WAIT, "forget the former user", {**MAPPED, "device": REPLANNED, "holders": [holder()]}),
    (
        "replaced_connection",
        Tone.WAIT,
        "connection that the app had before",
        {**MAPPED, "registration": registration("ready"), "holders": [holder(app_id=7)]},
    ),
    (
        "cleaning_up",
        Tone.WAIT,
        "being cleaned up",
        {**MAPPED, "registration": registration("retiring", due_at=LATER, maybe_held=True)},
    ),
    (
        "cleaning_up",
        Tone.WAIT,
        "being cleaned up",
        {**MAPPED, "registration": registration("registered", maybe_held=True, sent_platform="ios", due_at=EARLIER)},
    ),
    (
        "failed:DryRunSendingFailed",
        Tone.ACT,
        "rejected the token",
        {**MAPPED, "registration": registration("failed", reason="DryRunSendingFailed")},
    ),
    (
        "failed:DeviceTokenTooLong",
        Tone.ACT,
        "too long",
        {**MAPPED, "registration": registration("failed", reason="DeviceTokenTooLong")},
    ),
    ("failed:Refused", Tone.ACT, "HTTP 400", {**MAPPED, "registration": registration("failed", reason="Refused")}),
    ("failed:Unknown", Tone.ACT, "never said", {**MAPPED, "registration": registration("failed", reason="Unknown")}),
    # Reopened: on its way again.
    (
        "queued",
        Tone.WAIT,
        "about to be sent",
        {**MAPPED, "registration": registration("failed", reason="Unknown", due_at=EARLIER)},
    ),
]


@pytest.mark.parametrize(("code", "tone", "says", "given"), TABLE, ids=[f"{n}-{row[0]}" for n, row in enumerate(TABLE)])
def test_the_first_thing_that_prevents_a_push_is_the_verdict(
    code: str, tone: Tone, says: str, given: dict[str, Any]
) -> None:
    found = verdict(Facts(**{"app": app(), "device": device(), "now": NOW, **given}))
    assert (found.code, found.tone) == (code, tone)
    assert says in found.what
    assert found.what[0].isupper()
    assert found.what.endswith(".")
    assert found.receives is (code == "registered")
    assert found.to_do or tone is not Tone.ACT, "somebody has to act, and is not told how"


def test_every_reason_has_a_row() -> None:
    codes = {row[0] for row in TABLE}
    assert {f"failed:{reason.value}" for reason in FailureReason} <= codes
    assert {f"retired:{reason.value}" for reason in RetiredReason if reason != RetiredReason.ERASED} <= codes
    assert set(TO_MEND) == set(PauseReason)
