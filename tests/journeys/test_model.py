"""Random posts, erasures, replaced connections, faults, crashes and late answers against a model: at every step the
privacy and the order of what took effect at CI-J, and after a quiet period exact agreement.

`HYPOTHESIS_PROFILE=long` runs thousands of steps, new ones every time.
"""

import os
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pytest_django import Settings

from registry.models import (
    DataverseMapping,
    Device,
    Erasure,
    MobileApp,
    MobileUser,
    Pause,
    Registration,
    ReplacedConnection,
)
from registry.services.connections import replace_connection
from registry.states import ErasureState, RegistrationState, Step
from sandbox.admin_client import Effect
from sync import connect, outbox, pauses, policy, tasks
from sync.steps import cleanup, confirm, push
from sync.steps import map as mapping
from tests.sandbox_process import API_TOKEN, World

PATIENCE = timedelta(seconds=0.3)
DELAY = 0.01  # seconds from the sandbox's 202 to its effect
MILLISECONDS = timedelta(milliseconds=10)
PROFILES = {
    "default": settings(max_examples=10, stateful_step_count=40, derandomize=True, database=None),
    "long": settings(max_examples=120, stateful_step_count=60, database=None, print_blob=True),
}

INSTALLATIONS = strategies.sampled_from(["phone-1", "phone-2", "phone-3"])
# Hex, so that either platform may have posted them.
TOKEN = ["aa01", "bb02", "cc03"]
TOKENS = strategies.sampled_from(TOKEN)
PLATFORMS = strategies.sampled_from(["android", "android", "android", "ios"])
USERS = strategies.sampled_from(["u1", "u2", "u3"])
# An app is moved to and fro between them.
MOBILE_APPS = [uuid.uuid4(), uuid.uuid4()]
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
FAILURES = ["FailedToStoreDevice", "DryRunSendingFailed", "ApiTokenNotValid", "Pending", "PendingStored"]
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
    secured: bool = False


class Journal:
    """Replays the sandbox's effects and tells what must never be."""

    def __init__(self) -> None:
        self.seen = 0
        # Under whichever connection: it is the same app on the same phone.
        self.owners: defaultdict[str | None, set[tuple[str, str]]] = defaultdict(set)
        self.undecided: defaultdict[tuple[str, str, str | None], list[tuple[str, float, float]]] = defaultdict(list)

    def take(self, effect: Effect) -> None:
        self.seen = effect.seq
        owners = self.owners[effect.token]
        if effect.held:
            others = {owner for owner, _ in owners} - {effect.user_id}
            assert not others, f"{effect.token} is held for two users: {effect}"
            owners.add((effect.user_id, effect.mobile_app_id))
        else:
            owners.discard((effect.user_id, effect.mobile_app_id))
        # The call came DELAY before its effect.
        began = effect.at - DELAY
        calls = self.undecided[effect.mobile_app_id, effect.user_id, effect.token]
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
        for model in (Registration, Device, DataverseMapping, MobileUser, Pause, Erasure, ReplacedConnection):
            model.objects.all().delete()
        MobileApp.objects.update(mobile_app_id=MOBILE_APPS[0], batch_cleanup=True)
        app = world.app
        app.refresh_from_db()
        world.microsoft.reset()
        for mobile_app in MOBILE_APPS:
            world.microsoft.put_app(str(app.org_id), str(mobile_app), API_TOKEN)
        world.microsoft.settings(processing_delay=DELAY, cleanup_delay=DELAY)
        connect.credentials.cache_clear()
        self.records: dict[str, str] = {email: world.contact(emailaddress1=email) for email in KNOWN}
        for _ in range(2):
            world.contact(emailaddress1=TWICE)
        self.users: dict[str, User] = {}
        self.phones: dict[str, Phone] = {}
        self.journal = Journal()
        self.late: list[Callable[[], object]] = []
        self.replaced = 0

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
        keeps_user = before and (before.secured or before.token == token)
        self.has(installation, token, platform, before.user if before and keeps_user else None)
        self.phones[installation].secured = True

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

    @precondition(lambda self: self.users)
    @rule(data=strategies.data())
    def erase(self, data: strategies.DataObject) -> None:
        user = data.draw(strategies.sampled_from(sorted(self.users)))
        assert self.world.server.delete(f"users/{user}").status_code == 202
        del self.users[user]
        self.phones = {name: phone for name, phone in self.phones.items() if phone.user != user}

    @precondition(lambda self: self.replaced < 3)
    @rule()
    def replace(self) -> None:
        """An administrator moves the app to its other mobile app id, or back to the first."""
        self.replaced += 1
        self.world.app.refresh_from_db()
        replace_connection(
            self.world.app, api_token=API_TOKEN, mobile_app_id=MOBILE_APPS[self.replaced % len(MOBILE_APPS)]
        )
        self.world.app.refresh_from_db()

    # --- what goes wrong --------------------------------------------------------------------------------------------

    @rule(kind=strategies.sampled_from(["register_batch", "status", "cleanup", "cleanup_batch", "query"]), fault=FAULTS)
    def fault(self, kind: str, fault: dict[str, Any]) -> None:
        self.world.microsoft.add_fault(kind, **fault)

    @rule(token=TOKENS, failure=strategies.sampled_from(FAILURES), later=strategies.booleans())
    def fails(self, token: str, failure: str, later: bool) -> None:
        before = ["Success"] if later else []
        self.world.microsoft.set_outcomes({token: [*before, failure, "Success"]})

    @rule(step=strategies.sampled_from([Step.PUSH, Step.CONFIRM, Step.CLEANUP]))
    def dies_before_the_call(self, step: Step) -> None:
        for app in MobileApp.objects.all():
            rows = outbox.claim(app, step).rows
            Registration.objects.filter(pk__in=[row.pk for row in rows]).update(due_at=timezone.now() + PATIENCE)

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

    @rule(step=strategies.sampled_from(["plan", "map", "push", "confirm", "cleanup", "replace", "erase"]))
    def step(self, step: str) -> None:
        tasks.STEPS[step]()

    @rule()
    def work(self) -> None:
        self.world.work_once()

    @rule(seconds=strategies.sampled_from([0.02, 0.1, PATIENCE.total_seconds()]))
    def time_passes(self, seconds: float) -> None:
        Pause.objects.update(until=timezone.now())
        time.sleep(seconds)

    @rule()
    def a_day_passes(self) -> None:
        """What has had no answer, or no outcome, will have none any more; what came to pass of it stays so."""
        self.world.microsoft.wait_until_idle()
        idle = Registration.objects.filter(in_flight=False)
        idle.filter(unanswered_until__isnull=False).update(unanswered_until=Now())
        idle.filter(undecided_until__isnull=False).update(undecided_until=Now())
        idle.filter(state=RegistrationState.SENT).update(due_at=Now())
        idle.filter(state=RegistrationState.RETIRED, due_at__isnull=False).update(due_at=Now())

    # --- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def nothing_forbidden_took_effect(self) -> None:
        type(self).steps += 1
        for effect in self.world.microsoft.effects(after=self.journal.seen):
            self.journal.take(effect)

    def teardown(self) -> None:
        self.world.microsoft.clear_faults()
        self.world.microsoft.set_outcomes(dict.fromkeys(TOKEN))
        self.work_until_quiet()
        for answer in self.late:
            answer()
        self.work_until_quiet()
        # An administrator has mended what made test messages fail.
        pauses.reopen(self.world.app)
        self.work_until_quiet()
        self.a_day_passes()
        self.work_until_quiet(also=self.is_over)
        self.nothing_forbidden_took_effect()
        held = {(held.mobile_app_id, held.user_id, held.token, held.platform) for held in self.world.microsoft.held()}
        assert held == {(str(self.world.app.mobile_app_id), *wanted) for wanted in self.desired()}
        assert set(Erasure.objects.values_list("state", "not_cleaned_up")) <= {(ErasureState.DONE, 0)}
        assert not Device.objects.filter(erasure__isnull=False).exists()
        assert set(Registration.objects.values_list("erasure", "app")) <= {(None, self.world.app.pk)} | {
            (None, old.pk) for old in ReplacedConnection.objects.all()
        }

    def work_until_quiet(self, also: Callable[[], bool] = lambda: True) -> None:
        ends = time.monotonic() + 20
        while not (self.quiet() and also()):
            assert time.monotonic() < ends, f"not quiet: {list(Registration.objects.values())}"
            Pause.objects.all().delete()
            if Registration.objects.filter(state=RegistrationState.SENT, due_at__gt=Now()).exists():
                self.a_day_passes()  # of those whose outcome never comes
            self.world.work_once()
            time.sleep(0.01)

    def quiet(self) -> bool:
        soon = timezone.now() + timedelta(minutes=1)
        moving = [RegistrationState.READY, RegistrationState.SENT, RegistrationState.RETIRING]
        return not (
            Device.objects.exclude(revision=F("planned_revision")).exists()
            or DataverseMapping.objects.filter(due_at__lt=timezone.now() + timedelta(seconds=5)).exists()
            or Registration.objects.filter(due_at__lt=soon).exists()
            or Registration.objects.filter(state__in=moving).exists()
            or ReplacedConnection.objects.filter(marked_to__isnull=False).exists()
            or self.world.microsoft.summary()["waiting"]
        )

    def is_over(self) -> bool:
        """Whether nothing is waited for any more: of an old connection, or of an erasure."""
        Erasure.objects.filter(due_at__gt=Now()).update(due_at=Now())
        return not (
            ReplacedConnection.objects.filter(over_at__isnull=True).exists()
            or Erasure.objects.filter(state=ErasureState.WAITING).exists()
        )

    # --- the model --------------------------------------------------------------------------------------------------

    def has(self, installation: str, token: str, platform: str, user: str | None) -> None:
        for phone in self.phones.values():
            phone.retired |= phone.token == token
        secured = installation in self.phones and self.phones[installation].secured
        self.phones[installation] = Phone(token, platform, user, secured=secured)

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
    settings.TOKENHUB_DRY_RUN_WAVE = 3
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
