"""Claims, leases, and answers that come late."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from psycopg.errors import DeadlockDetected

from registry.crypto import sha256
from registry.models import MobileApp, Registration
from registry.services import bulk
from registry.states import RegistrationState, Step
from sync import transitions
from sync.clients.cij import Outcome, Status
from sync.outbox import claim, settle
from tests.races import uncommitted

SUCCESS = Outcome(Status.SUCCESS)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(transactional_db: None, app: MobileApp) -> MobileApp:
    return app


def registration(app: MobileApp, token: str = "token-1", **fields: object) -> Registration:
    values = {
        "app": app,
        "table": "contact",
        "dataverse_id": uuid4(),
        "platform": "android",
        "token": token,
        "token_hash": sha256(token),
        "due_at": timezone.now(),
        **fields,
    }
    return Registration.objects.create(**values)


def test_a_claim_pushes_the_time_past_the_lease_and_notes_what_may_be_held(shop: MobileApp) -> None:
    registration(shop)
    [row] = claim(shop, Step.PUSH).rows
    assert row.due_at is not None
    assert row.due_at > timezone.now() + timedelta(seconds=50)
    assert (row.in_flight, row.maybe_held, row.claim_no) == (True, True, 1)
    assert claim(shop, Step.PUSH).rows == []


def test_a_worker_whose_clock_is_wrong_keeps_the_settling_time(
    shop: MobileApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = registration(shop, desired=False, state=RegistrationState.REGISTERED, maybe_held=True)
    slow = timezone.now() - timedelta(hours=1)
    settling = timedelta(seconds=5)
    monkeypatch.setattr(timezone, "now", lambda: slow)
    settle(claim(shop, Step.CLEANUP).rows, lambda row, now: transitions.cleanup_accepted(row, now, settling))
    row.refresh_from_db()
    assert row.due_at is not None
    assert row.due_at > slow + timedelta(minutes=59)


def test_a_lease_that_ran_out_is_taken_by_another(shop: MobileApp) -> None:
    registration(shop)
    claim(shop, Step.PUSH)
    Registration.objects.update(due_at=timezone.now())
    [row] = claim(shop, Step.PUSH).rows
    assert row.claim_no == 2


@pytest.mark.parametrize(
    ("state", "desired", "fields", "step"),
    [
        ("ready", True, {}, Step.PUSH),
        ("failed", True, {}, Step.PUSH),
        ("retired", True, {}, Step.PUSH),
        ("registered", True, {}, Step.PUSH),
        ("sent", True, {}, Step.CONFIRM),
        ("sent", False, {}, Step.CONFIRM),
        ("registered", False, {"maybe_held": True}, Step.CLEANUP),
        ("ready", False, {"maybe_held": True}, Step.CLEANUP),
        ("failed", False, {"maybe_held": True}, Step.CLEANUP),
        ("retired", False, {}, Step.CLEANUP),
        ("retiring", False, {"maybe_held": True}, Step.CLEANUP),
        ("retiring", True, {"maybe_held": True}, Step.CLEANUP),
        ("ready", False, {}, None),  # never sent: retired without a call
        ("failed", False, {}, None),
        ("retiring", False, {"cleaned_at": timezone.now()}, None),  # settling
    ],
)
def test_whose_turn_a_row_is_follows_from_its_state_and_what_is_desired(
    shop: MobileApp, state: str, desired: bool, fields: dict[str, Any], step: Step | None
) -> None:
    registration(shop, state=state, desired=desired, **fields)
    assert [taken for taken in Step if claim(shop, taken).rows] == ([step] if step else [])


def test_a_token_that_somebody_may_hold_is_not_sent_for_another(shop: MobileApp) -> None:
    old = registration(shop, desired=False, maybe_held=True, state="registered")
    registration(shop)
    assert claim(shop, Step.PUSH).rows == []
    Registration.objects.filter(pk=old.pk).update(maybe_held=False)
    assert len(claim(shop, Step.PUSH).rows) == 1


def test_workers_in_parallel_never_share_a_row(shop: MobileApp) -> None:
    for number in range(200):
        registration(shop, token=f"token-{number}")
    taken: list[int] = []
    start = threading.Barrier(8)

    def work() -> None:
        try:
            start.wait()
            while rows := claim(shop, Step.PUSH, limit=7).rows:
                taken.extend(row.pk for row in rows)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(Registration.objects.values_list("pk", flat=True))


def accept(row: Registration, now: object) -> transitions.Change:
    return transitions.accepted(row, UUID(int=7), timezone.now())


def test_a_late_answer_changes_no_state_but_has_the_row_looked_at_again(shop: MobileApp) -> None:
    registration(shop)
    late = claim(shop, Step.PUSH).rows
    # Its lease ran out; another worker cleaned it up meanwhile.
    Registration.objects.update(state="retired", desired=False, due_at=None, in_flight=False, claim_no=9)
    assert settle(late, accept) == []
    row = Registration.objects.get()
    assert (row.state, row.recheck) == ("retired", True)
    [again] = claim(shop, Step.CLEANUP).rows
    assert again.recheck is False


def test_a_late_answer_while_another_holds_the_lease_waits_for_its_end(shop: MobileApp) -> None:
    registration(shop)
    late = claim(shop, Step.PUSH).rows
    Registration.objects.update(due_at=timezone.now())
    ours = claim(shop, Step.PUSH).rows
    settle(late, accept)
    row = Registration.objects.get()
    assert (row.recheck, row.in_flight, row.state) == (True, True, "ready")
    settle(ours, lambda row, now: transitions.refused(row, "", now))
    row = Registration.objects.get()
    assert row.due_at is not None  # not the end: the late answer may mean that CI-J holds it
    assert [row.pk for row in claim(shop, Step.PUSH).rows] == [row.pk]


def test_what_is_desired_is_read_when_settling_not_when_claiming(shop: MobileApp) -> None:
    registration(shop, state="sent", request_id=uuid4(), maybe_held=True)
    rows = claim(shop, Step.CONFIRM).rows
    Registration.objects.update(desired=False)
    settle(rows, lambda row, now: transitions.confirmed(row, SUCCESS, now, timedelta(seconds=30)))
    row = Registration.objects.get()
    assert row.state == RegistrationState.REGISTERED
    assert [row.pk for row in claim(shop, Step.CLEANUP).rows] == [row.pk]


@pytest.mark.parametrize("state", ["registered", "retiring"])
def test_so_is_what_another_has_written_and_not_committed_when_settling_begins(shop: MobileApp, state: str) -> None:
    registration(shop, state="sent", request_id=uuid4(), maybe_held=True)
    registration(shop, "token-2", state="sent", request_id=uuid4(), maybe_held=True)
    rows = claim(shop, Step.CONFIRM).rows
    written = {"desired": False} if state == "registered" else {"state": state, "claim_no": 9}
    with uncommitted(lambda: Registration.objects.filter(token="token-1").update(**written)):
        settle(rows, lambda row, now: transitions.confirmed(row, SUCCESS, now, timedelta(seconds=30)))
    row, other = Registration.objects.order_by("token")
    assert (row.state, row.desired, row.recheck) == (state, state != "registered", state != "registered")
    assert (row.due_at is None, other.state, other.due_at) == (False, "registered", None)


def test_what_a_deadlock_undid_is_decided_anew_of_the_row_as_it_was_claimed(
    shop: MobileApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration(shop)
    update, ended = bulk.update, False

    def once_in_vain(*arguments: Any) -> set[int]:
        nonlocal ended
        if not ended:
            ended = True
            raise OperationalError from DeadlockDetected()
        return update(*arguments)

    rows = claim(shop, Step.PUSH).rows
    monkeypatch.setattr(bulk, "update", once_in_vain)
    [row] = settle(rows, lambda row, now: transitions.try_again(row, "", now))
    assert (ended, row.attempts, Registration.objects.get().attempts) == (True, 1, 1)


def test_of_two_claims_that_cross_one_gets_the_token(shop: MobileApp) -> None:
    """Neither sees what the other has not committed: the database makes the second wait, and refuses it then."""
    other = registration(shop, desired=False, state="retired")
    registration(shop)
    with uncommitted(lambda: Registration.objects.filter(pk=other.pk).update(maybe_held=True)):
        assert claim(shop, Step.PUSH).rows == []
    assert Registration.objects.get(maybe_held=True) == other


def test_a_probe_is_made_with_what_was_refused_least(shop: MobileApp) -> None:
    """One poison item must not keep its app resting."""
    long_ago = timezone.now() - timedelta(hours=1)
    registration(shop, "poison", attempts=3, due_at=long_ago)
    good = registration(shop, "good")
    assert [row.pk for row in claim(shop, Step.PUSH, limit=1).rows] == [good.pk]


@pytest.fixture(autouse=True)
def _no_transaction_left() -> Iterator[None]:
    yield
    assert transaction.get_connection().in_atomic_block is False


def test_a_token_that_is_held_for_another_does_not_hold_up_the_rest_of_the_batch(shop: MobileApp) -> None:
    registration(shop, state=RegistrationState.REGISTERED, desired=False, maybe_held=True, due_at=None)
    registration(shop)  # the same token, for somebody else
    free = registration(shop, "token-2")
    assert [row.pk for row in claim(shop, Step.PUSH).rows] == [free.pk]


def test_many_values_are_written_as_they_are(shop: MobileApp) -> None:
    """They travel as one array, which has signs of its own for what parts, quotes and misses values."""
    texts = ["", "NULL", 'a "quoted" one', "back\\slash", "{a, b}", " spaces ", "ü€🙂", "two\nlines"]
    rows = [registration(shop, f"token-{number}") for number in range(len(texts))]
    for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
        row.detail, row.token_hash, row.request_id = text, bytes([number, 92, 34, 255]), uuid4() if number % 2 else None
        row.due_at, row.urgent, row.attempts = (timezone.now(), False, 0) if number % 2 else (None, True, number)
    fields = ["detail", "token_hash", "request_id", "due_at", "urgent", "attempts"]
    bulk.update(rows, fields)
    for row in rows:
        found = Registration.objects.get(pk=row.pk)
        found.token_hash = bytes(found.token_hash)
        assert [getattr(found, name) for name in fields] == [getattr(row, name) for name in fields]
