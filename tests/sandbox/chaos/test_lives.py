"""The phones of a plan against a made-up ingest API and a real sandbox."""

import asyncio

import httpx2
import pytest

from sandbox.admin_client import SandboxAdmin
from sandbox.chaos.lives import Lives
from sandbox.chaos.operations import plan
from sandbox.demo.api import Api, UnexpectedAnswerError
from sandbox.demo.drive import seed
from sandbox.demo.model import Model
from tests.sandbox.demo.test_fleet import Answers, Ingest

DURATION = 60.0


async def live(admin: SandboxAdmin, answers: Answers) -> Lives:
    """The whole plan, every operation as soon as the one before it was answered."""
    made = plan(5, 30, DURATION)
    seed(admin, made.directory, set())
    transport = httpx2.MockTransport(answers)
    api = Api("http://tokenhub", server_key="server", mobile_key="mobile", from_answer=True, transport=transport)
    lives = Lives(made, 5, api, Model(made.directory, made.dead_tokens), admin)
    try:
        await lives.run(asyncio.get_running_loop().time() - 10 * DURATION)
    finally:
        await api.close()
    return lives


def test_everything_planned_is_done_and_the_model_follows(admin: SandboxAdmin) -> None:
    ingest = Ingest()
    lives = asyncio.run(live(admin, ingest))
    model = lives.model
    assert lives.done == lives.plan.operations
    assert model.devices.keys() == ingest.devices.keys()
    states = {model.state(name) for name in model.devices}
    assert {"registered", "retired"} <= states
    tokens = {device.token for device in model.devices.values() if not device.retired}
    assert not tokens & set(lives.plan.poisoned)
    assert {token for _, token in model.held()} <= tokens


def test_how_often_posts_are_repeated_changes_nothing(admin: SandboxAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        return

    class Flaky(Ingest):
        """Takes every third request and loses the answer."""

        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            answer = super().__call__(request)
            return httpx2.Response(503) if len(self.requests) % 3 == 0 else answer

    steady = asyncio.run(live(admin, Ingest())).model
    admin.reset()
    monkeypatch.setattr("sandbox.demo.api.asyncio.sleep", sleep)
    flaky = asyncio.run(live(admin, Flaky())).model
    assert steady.held() == flaky.held()
    assert steady.events == flaky.events
    assert {name: steady.state(name) for name in steady.devices} == {name: flaky.state(name) for name in flaky.devices}


def test_merged_contacts_are_merged_in_the_sandbox_too(admin: SandboxAdmin) -> None:
    lives = asyncio.run(live(admin, Ingest()))
    merged = [row for row in lives.plan.directory.rows["contacts"] if row.get("merged")]
    assert merged
    # The table replaces rows of the same id: none was added.
    assert admin.summary()["records"]["contacts"] == len(lives.plan.directory.rows["contacts"])


def test_an_answer_that_is_not_in_the_description_ends_the_run(admin: SandboxAdmin) -> None:
    with pytest.raises(UnexpectedAnswerError, match="POST devices: 403"):
        asyncio.run(live(admin, lambda _: httpx2.Response(403, json={"title": "no"})))
