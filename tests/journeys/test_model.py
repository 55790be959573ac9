"""Random posts, faults, crashes and late answers against a model: at every step the privacy and the order of what took
effect at CI-J, and after a quiet period exact agreement.

`HYPOTHESIS_PROFILE=long` runs thousands of steps, new ones every time.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pytest_django import Settings

from registry.models import DataverseMapping, Device, MobileApp, MobileUser, Pause, Registration
from registry.states import RegistrationState
from sandbox.admin_client import Effect
from sync import connect, outbox, policy, tasks
from sync.steps import cleanup, confirm, push
from sync.steps import map as mapping
from tests.sandbox_process import API_TOKEN, World

PATIENCE = timedelta(seconds=0.3)
DELAY = 0.01  # seconds from the sandbox's 202 to its effect
MILLISECONDS = timedelta(milliseconds=10)
PROFILES = {
    "default": settings(max_examples=25, stateful_step_count=40, derandomize=True, database=None),
    "long": settings(max_examples=120, stateful_step_count=60, database=None, print_blob=True),
}

INSTALLATIONS = strategies.sampled_from(["phone-1", "phone-2", "phone-3"])
# Hex, so that either platform may have posted them.
TOKEN = ["aa01", "bb02", "cc03"]
TOKENS = strategies.sampled_from(TOKEN)
PLATFORMS = strategies.sampled_from(["android", "android", "android", "ios"])
USERS = strategies.sampled_from(["u1", "u2", "u3"])
KNOWN = ["anna@example.com", "bert@example.com", "cleo@example.com"]
TWICE, NOBODY = "twice@example.com", "nobody@example.com"
FAULTS = strategies.sampled_from(
    [
        {"drop_connection": "before"},
        {"drop_connection": "after"},
        {"drop_connection": "middle"},
        {"status": 500},
        {"status": 500, "handled": True},
        {"status": 401},
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"malformed": True},
        {"short_array": True},
    ]
)
STEPS_THAT_SETTLE: dict[str, Any] = {"push": push, "confirm": confirm, "cleanup": cleanup}


@dataclass
class User:
    """`records`: the Dataverse ids that the mapping may have by now; which of them depends on when it was looked up."""

    email: str = ""
    consent: bool = True
    records: set[str | None] = field(default_factory=lambda: {None})


@dataclass
class Phone:
    token: str
    platform: str
    user: str | None
    retired: bool = False


class Journal:
    """Replays the sandbox's effects and tells what must never be."""

    def __init__(self) -> None:
        self.seen = 0
        self.owners: defaultdict[str | None, set[str]] = defaultdict(set)
        self.undecided: defaultdict[tuple[str, str | None], list[tuple[str, float, float]]] = defaultdict(list)

    def take(self, effect: Effect) -> None:
        self.seen = effect.seq
        owners = self.owners[effect.token]
        if effect.held:
            assert owners <= {effect.user_id}, f"{effect.token} is held for two users: {effect}"
            owners.add(effect.user_id)
        else:
            owners.discard(effect.user_id)
        # The call came DELAY before its effect.
        began = effect.at - DELAY
        calls = self.undecided[effect.user_id, effect.token]
        calls[:] = [call for call in calls if call[2] > began]
        raced = [call for call in calls if call[0] != effect.kind]
        assert not raced, f"registration and cleanup race: {raced}, {effect}"
        calls.append((effect.kind, began, effect.at))


class Machine(RuleBasedStateMachine):
    """One life of three phones, three tokens and three users."""

    world: ClassVar[World]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        world = self.world
        for model in (Registration, Device, DataverseMapping, MobileUser, Pause):
            model.objects.all().delete()
        app = world.app
        world.microsoft.reset()
        world.microsoft.put_app(str(app.org_id), str(app.mobile_app_id), API_TOKEN)
        world.microsoft.settings(processing_delay=DELAY, cleanup_delay=DELAY)
        connect.credentials.cache_clear()
        self.records: dict[str, str] = {email: world.contact(emailaddress1=email) for email in KNOWN}
        for _ in range(2):
            world.contact(emailaddress1=TWICE)
        self.users: dict[str, User] = {}
        self.phones: dict[str, Phone] = {}
        self.journal = Journal()
        self.late: list[Callable[[], object]] = []

    # --- what phones post -------------------------------------------------------------------------------------------

    @rule(
        installation=INSTALLATIONS,
        token=TOKENS,
        platform=PLATFORMS,
        user=USERS,
        email=strategies.sampled_from([None, *KNOWN, *KNOWN, TWICE, NOBODY]),
        consent=strategies.sampled_from([None, None, True, True, False]),
    )
    def launch(
        self, installation: str, token: str, platform: str, user: str, email: str | None, consent: bool | None
    ) -> None:
        posted: dict[str, Any] = {"id": user}
        known = self.users.setdefault(user, User())
        if email is not None:
            posted["email"] = email
            known.email = email
            known.records |= {self.look_up(email, record) for record in known.records}
        if consent is not None:
            posted["push_consent"] = known.consent = consent
        answer = self.world.server.launch(installation_id=installation, token=token, platform=platform, user=posted)
        assert answer.status_code in (200, 201)
        self.has(installation, token, platform, user)

    @rule(installation=INSTALLATIONS, token=TOKENS)
    def launch_by_the_phone(self, installation: str, token: str) -> None:
        before = self.phones.get(installation)
        platform = before.platform if before else "android"
        self.world.mobile.launch(installation_id=installation, token=token, platform=platform)
        self.has(installation, token, platform, before.user if before else None)

    @precondition(lambda self: self.phones)
    @rule(data=strategies.data())
    def sign_out(self, data: strategies.DataObject) -> None:
        installation = data.draw(strategies.sampled_from(sorted(self.phones)))
        self.world.mobile.post(f"devices/{installation}/sign-out")
        self.phones[installation].user = None

    @precondition(lambda self: self.phones)
    @rule(data=strategies.data())
    def delete(self, data: strategies.DataObject) -> None:
        installation = data.draw(strategies.sampled_from(sorted(self.phones)))
        self.world.mobile.delete(f"devices/{installation}")
        self.phones[installation].retired = True

    # --- what goes wrong --------------------------------------------------------------------------------------------

    @rule(kind=strategies.sampled_from(["register_batch", "status", "cleanup", "cleanup_batch", "query"]), fault=FAULTS)
    def fault(self, kind: str, fault: dict[str, Any]) -> None:
        self.world.microsoft.add_fault(kind, **fault)

    @rule(token=TOKENS, outcomes=strategies.sampled_from([["FailedToStoreDevice"], ["Success", "FailedToStoreDevice"]]))
    def cannot_store(self, token: str, outcomes: list[str]) -> None:
        self.world.microsoft.set_outcomes({token: [*outcomes, "Success"]})

    @rule(step=strategies.sampled_from(sorted(STEPS_THAT_SETTLE)), comes_late=strategies.booleans())
    def crash(self, step: str, comes_late: bool) -> None:
        """The worker speaks to CI-J, and its lease is over before it writes down what it heard, if it ever does."""

        def lose(rows: Sequence[Registration], decide: outbox.Decide) -> list[Registration]:
            Registration.objects.filter(pk__in=[row.pk for row in rows]).update(due_at=timezone.now() + PATIENCE)
            if comes_late:
                self.late.append(lambda: outbox.settle(rows, decide))
            return []

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(STEPS_THAT_SETTLE[step], "settle", lose)
            tasks.STEPS[step]()

    @rule()
    def late_answer(self) -> None:
        # No precondition: whether a crash had anything to lose is a matter of time, and no reason to draw otherwise.
        if self.late:
            self.late.pop(0)()

    # --- what the workers do ----------------------------------------------------------------------------------------

    @rule(step=strategies.sampled_from(["plan", "map", "push", "confirm", "cleanup"]))
    def step(self, step: str) -> None:
        tasks.STEPS[step]()

    @rule()
    def work(self) -> None:
        self.world.work_once()

    @rule(seconds=strategies.sampled_from([0.02, 0.1, PATIENCE.total_seconds()]))
    def time_passes(self, seconds: float) -> None:
        Pause.objects.update(until=timezone.now())
        time.sleep(seconds)

    # --- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def nothing_forbidden_took_effect(self) -> None:
        type(self).steps += 1
        for effect in self.world.microsoft.effects(after=self.journal.seen):
            self.journal.take(effect)

    def teardown(self) -> None:
        self.world.microsoft.clear_faults()
        self.world.microsoft.set_outcomes(dict.fromkeys(TOKEN))
        ends = time.monotonic() + 10
        while not self.quiet():
            assert time.monotonic() < ends, f"not quiet: {list(Registration.objects.values())}"
            Pause.objects.all().delete()
            self.world.work_once()
            time.sleep(0.01)
        for answer in self.late:
            answer()
        while not self.quiet():
            assert time.monotonic() < ends, f"not quiet: {list(Registration.objects.values())}"
            self.world.work_once()
            time.sleep(0.01)
        self.nothing_forbidden_took_effect()
        assert {(held.user_id, held.token, held.platform) for held in self.world.microsoft.held()} == self.desired()

    def quiet(self) -> bool:
        soon = timezone.now() + timedelta(minutes=1)
        moving = [RegistrationState.READY, RegistrationState.SENT, RegistrationState.RETIRING]
        return not (
            Device.objects.exclude(revision=F("planned_revision")).exists()
            or DataverseMapping.objects.filter(due_at__lt=timezone.now() + timedelta(seconds=5)).exists()
            or Registration.objects.filter(due_at__lt=soon).exists()
            or Registration.objects.filter(state__in=moving).exists()
            or self.world.microsoft.summary()["waiting"]
        )

    # --- the model --------------------------------------------------------------------------------------------------

    def has(self, installation: str, token: str, platform: str, user: str | None) -> None:
        for phone in self.phones.values():
            phone.retired |= phone.token == token
        self.phones[installation] = Phone(token, platform, user)

    def look_up(self, email: str, before: str | None) -> str | None:
        """A mapping is sticky: an address that leads nowhere leaves it as it is."""
        return before if email in ("", NOBODY) else self.records.get(email)

    def desired(self) -> set[tuple[str, str, str]]:
        """What CI-J must hold."""
        pairs = set()
        for phone in self.phones.values():
            if phone.retired or phone.user is None or not self.users[phone.user].consent:
                continue
            user = self.users[phone.user]
            possible = {self.look_up(user.email, record) for record in user.records}
            found = DataverseMapping.objects.get(user__external_id=phone.user).dataverse_id
            record = str(found) if found else None
            assert record in possible
            if record:
                pairs.add((record, phone.token, phone.platform))
        return pairs


@pytest.fixture
def hasty(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> World:
    """Everything that takes seconds takes milliseconds, in the same order of lengths."""
    settings.TOKENHUB_CLEANUP_SETTLING = timedelta(milliseconds=50)
    settings.TOKENHUB_CLEANUP_ECHO = timedelta(milliseconds=100)
    settings.TOKENHUB_HANDOVER_PATIENCE = PATIENCE
    settings.TOKENHUB_FIRST_POLL = MILLISECONDS
    monkeypatch.setattr(policy, "backoff", lambda attempts: MILLISECONDS)
    monkeypatch.setattr(mapping, "ASK_AGAIN", MILLISECONDS)
    settings.TOKENHUB_PROBE = MILLISECONDS
    settings.TOKENHUB_SHARED_RETURNS = 1_000_000  # here tokens go to and fro all the time
    MobileApp.objects.update(requests_per_second=10_000)
    return world


def test_whatever_happens_cij_holds_what_is_desired_and_never_a_token_for_two(hasty: World) -> None:
    profile = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "default")]
    quick = settings(profile, deadline=None, suppress_health_check=list(HealthCheck))
    Machine.world, Machine.steps = hasty, 0
    try:
        run_state_machine_as_test(Machine, settings=quick)
    finally:
        print(f"{Machine.steps} steps")  # noqa: T201 shown by pytest -s, and where it fails
