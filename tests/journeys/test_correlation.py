"""One id runs from a phone's post to the call to Microsoft, through the tables in which batches mix many posts."""

import logging
import uuid
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from registry.models import DataverseEnvironment, Device, Registration
from registry.services import counters
from registry.services.correlation import begin
from sandbox.admin_client import Call
from sync import outbox
from sync.steps import cleanup, confirm
from tests.sandbox_process import World

TRACE = "0af7651916cd43dd8448eb211c80319c"
ANNA = {"id": "anna", "email": "anna@contoso.example"}
BERT = {"id": "bert", "email": "bert@contoso.example"}


def post(world: World, trace: str, **fields: Any) -> Any:
    world.server.trace(trace)
    answer = world.server.launch(**fields)
    assert answer["X-Request-ID"] == trace
    return answer


def last(world: World, *kinds: str) -> Call:
    return [call for call in world.microsoft.calls() if call.kind in kinds][-1]


def carried(caplog: pytest.LogCaptureFixture, name: str) -> list[list[str]]:
    lines = [record.msg for record in caplog.records if record.name == "sync.calls" and isinstance(record.msg, dict)]
    return [line["carries"] for line in lines if line["call"] == name]


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO):
        yield


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "anna@contoso.example\nforged line",
    ],
)
def test_what_is_no_traceparent_gets_an_id_of_our_own(text: str) -> None:
    first, second = begin(text), begin(text)
    assert first != second
    assert first.hex not in text


def test_the_post_s_id_is_on_every_call_that_it_leads_to(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.contact(emailaddress1=ANNA["email"])
    post(world, TRACE, user=ANNA)
    world.work_until(lambda: world.server.state() == "registered")
    for kinds, name in ((("query",), "look_up"), (("register_batch",), "register"), (("status",), "status")):
        call = last(world, *kinds)
        assert call.traceparent is not None
        assert call.traceparent.split("-")[1] == TRACE, kinds
        assert uuid.UUID(call.client_request_id or "").hex[:16] == call.traceparent.split("-")[2]
        assert [TRACE] in carried(caplog, name)


def test_a_sign_in_to_entra_is_a_call_like_any_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    counters._pending.clear()
    world.contact(emailaddress1=ANNA["email"])
    post(world, TRACE, user=ANNA)
    world.work_until(lambda: world.server.state() == "registered")
    assert carried(caplog, "sign_in") == [[TRACE]], "once, and then from what msal keeps"
    assert counters._pending["tokenhub_calls_total", "", "sign_in", "sandbox", "ok"] == 1
    DataverseEnvironment.objects.update(client_secret="an-old-one")
    post(world, uuid.uuid4().hex, installation_id="phone-2", token="token-2", user=BERT)
    world.work_until(lambda: len(carried(caplog, "sign_in")) > 1)
    assert counters._pending["tokenhub_calls_total", "", "sign_in", "sandbox", "denied"] >= 1


def registered_for_anna(world: World) -> None:
    """A phone that Bert, whom Dataverse knows as well, may sign in on; nothing is counted yet."""
    for user in (ANNA, BERT):
        world.contact(emailaddress1=user["email"])
    post(world, TRACE, user=ANNA)
    world.work_until(lambda: world.server.state() == "registered")
    counters._pending.clear()


def observed(name: str) -> int:
    """How many waits the histogram of that name was told of."""
    return sum(n for key, n in counters._pending.items() if key[0] == name and key[1] != "sum")


def test_a_change_of_hands_is_cleaned_up_for_the_post_that_brought_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    registered_for_anna(world)
    second = uuid.uuid4().hex
    post(world, second, user=BERT)
    world.work_until(lambda: world.server.state() == "registered")
    assert {carries for (carries,) in carried(caplog, "cleanup_one")} == {second}
    assert carried(caplog, "register")[-1] == [second]
    for name in ("tokenhub_handover_seconds", "tokenhub_registered_seconds"):
        assert observed(name) == 1, name


@pytest.mark.parametrize(
    ("step", "name"), [(confirm, "tokenhub_registered_seconds"), (cleanup, "tokenhub_handover_seconds")]
)
def test_a_wait_is_counted_once_also_where_an_answer_came_after_its_lease(
    world: World, monkeypatch: pytest.MonkeyPatch, step: ModuleType, name: str
) -> None:
    registered_for_anna(world)
    settle = outbox.settle
    lost: list[int] = []

    def lost_meanwhile(rows: Any, decide: Any) -> Any:
        if not lost:
            taken = Registration.objects.filter(pk__in=[row.pk for row in rows])
            lost.append(taken.update(claim_no=F("claim_no") + 1, due_at=Now()))
        return settle(rows, decide)

    monkeypatch.setattr(step, "settle", lost_meanwhile)
    post(world, uuid.uuid4().hex, user=BERT)
    world.work_until(lambda: world.server.state() == "registered")
    assert lost == [1]
    assert observed(name) == 1


def test_a_batch_tells_all_the_posts_that_it_mixes_and_is_a_trace_of_its_own(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    traces = {uuid.uuid4().hex for _ in range(3)}
    for number, trace in enumerate(sorted(traces)):
        user = {"id": f"user-{number}", "email": f"user-{number}@contoso.example"}
        world.contact(emailaddress1=user["email"])
        post(world, trace, installation_id=f"phone-{number}", token=f"token-{number}", user=user)
    world.work_until(lambda: len(world.held()) == 3)
    assert set(carried(caplog, "register")[0]) == traces
    sent = last(world, "register_batch").traceparent
    assert sent is not None
    assert sent.split("-")[1] not in traces


def test_an_event_is_relayed_for_the_post_that_reported_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.contact(emailaddress1=ANNA["email"])
    post(world, TRACE, user=ANNA)
    world.work_until(lambda: world.server.state() == "registered")
    second = uuid.uuid4().hex
    world.server.trace(second)
    event = {"installation_id": "phone-1", "tracking_id": str(uuid.uuid4()), "status": "opened"}
    assert world.server.post("events", event).status_code == 202
    world.work_until(lambda: carried(caplog, "event"))
    assert carried(caplog, "event") == [[second]]


def test_a_launch_that_changes_nothing_leaves_the_id_of_the_change(world: World) -> None:
    world.contact(emailaddress1=ANNA["email"])
    post(world, TRACE, user=ANNA)
    world.work_until(lambda: world.server.state() == "registered")
    post(world, uuid.uuid4().hex, user=ANNA)
    assert Device.objects.get().changed_by == uuid.UUID(TRACE)
    assert Registration.objects.get().asked_by == uuid.UUID(TRACE)
