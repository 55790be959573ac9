"""The phones against a made-up ingest API: what they post, and how patient they are."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from sandbox.demo.api import Api, UnexpectedAnswerError
from sandbox.demo.fleet import Fleet
from sandbox.demo.model import Model
from sandbox.demo.people import Population

type Answers = Callable[[httpx2.Request], httpx2.Response]


class Ingest:
    """Remembers what was posted; repeats are unchanged, as the API's description says. Secures every installation."""

    def __init__(self) -> None:
        self.devices: dict[str, Any] = {}
        self.secrets: dict[str, str] = {}
        self.shown: set[str] = set()
        self.requests: list[tuple[str, str, str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path, body = request.url.path.removeprefix("/api/v1/"), json.loads(request.content or b"null")
        key = request.headers["authorization"].removeprefix("Bearer ")
        self.requests.append((request.method, path, key, body))
        if request.method == "GET":
            return httpx2.Response(200, json={"registration": {"state": "registered"}})
        if path == "events":
            return httpx2.Response(202, json={"results": [{"result": "accepted"}]})
        name = body["installation_id"] if path == "devices" else path.split("/")[1]
        if key == "mobile" and path != "events":
            if request.headers.get("installation-secret") == self.secrets.get(name, "none"):
                self.shown.add(name)
            elif name in self.shown or (path != "devices" and name in self.secrets):
                return httpx2.Response(403)
        if path != "devices":
            self.devices[name] = None
            return httpx2.Response(204) if request.method == "DELETE" else httpx2.Response(200, json={})
        known, self.devices[name] = self.devices.get(name), {**(self.devices.get(name) or {}), **body}
        result = "created" if known is None else "unchanged" if known == self.devices[name] else "updated"
        answer = {"result": result}
        if key == "mobile" and name not in self.shown:
            answer["installation_secret"] = self.secrets[name] = f"secret of {name}"
        return httpx2.Response(201 if result == "created" else 200, json=answer)


def api(answers: Answers) -> Api:
    return Api("http://tokenhub", server_key="server", mobile_key="mobile", transport=httpx2.MockTransport(answers))


async def live(answers: Answers, phones: int) -> tuple[Fleet, Model, Api]:
    population = Population(5)
    fleet = Fleet(phones, 5, population)
    model = Model(population.directory, fleet.dead_tokens)
    made = api(answers)
    await fleet.run(made, model, ramp=0.0, pace=0.0)
    await made.close()
    return fleet, model, made


def test_every_scenario_runs_and_the_model_follows() -> None:
    ingest = Ingest()
    fleet, model, made = asyncio.run(live(ingest, 68))
    assert fleet.progress.done == 68
    assert fleet.progress.surprises == []
    assert model.devices.keys() == ingest.devices.keys()
    assert len(model.devices) > 68
    states = {model.state(name) for name in model.devices}
    assert states >= {"registered", "no_user", "opted_out", "not_found", "ambiguous", "failed", "retired"}
    assert made.results["created"] >= 68
    assert 0 < len(model.events) < model.events_reported
    assert ingest.secrets


def test_only_the_server_key_names_users() -> None:
    ingest = Ingest()
    asyncio.run(live(ingest, 34))
    launches = [(key, body) for method, path, key, body in ingest.requests if (method, path) == ("POST", "devices")]
    assert {key for key, body in launches if "user" in body} == {"server"}
    assert {key for key, body in launches if "user" not in body} == {"mobile"}
    assert {key for method, path, key, _ in ingest.requests if path == "events" or method == "DELETE"} == {"mobile"}


def test_a_server_that_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    troubles: list[Answers] = [
        _refused,
        lambda _: httpx2.Response(503),
        lambda _: httpx2.Response(429, headers={"Retry-After": "2"}),
        lambda _: httpx2.Response(200, json={"registration": {"state": "pending"}}),
    ]

    def answers(request: httpx2.Request) -> httpx2.Response:
        return troubles.pop(0)(request)

    made = api(answers)
    monkeypatch.setattr("sandbox.demo.api.asyncio.sleep", sleep)
    assert asyncio.run(made.state("p")) == "pending"
    assert waits == [0.2, 0.4, 2.0]
    assert (made.answers, made.retries) == (3, 3)
    asyncio.run(made.close())


def _refused(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("refused", request=request)


def test_an_answer_that_is_not_in_the_description_ends_the_run() -> None:
    with pytest.raises(UnexpectedAnswerError, match="POST devices: 403"):
        asyncio.run(live(lambda _: httpx2.Response(403, json={"title": "no"}), 20))


def test_a_repeated_launch_that_changes_something_is_a_surprise() -> None:
    def changing(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"result": "updated", "registration": {"state": "registered"}})

    def answers(request: httpx2.Request) -> httpx2.Response:
        events = httpx2.Response(202, json={"results": []})
        return events if request.url.path.endswith("events") else changing(request)

    fleet, _, _ = asyncio.run(live(answers, 1))
    assert "a repeated launch was updated" in fleet.progress.surprises[0]


def test_the_same_seed_lives_the_same_lives_however_slow_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.demo.phones.POLL", 0.0)

    class Slow(Ingest):
        """Says `pending` some times before every `registered`."""

        def __init__(self) -> None:
            super().__init__()
            self.asked = 0

        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            self.asked += request.method == "GET"
            answer = super().__call__(request)
            if request.method == "GET" and self.asked % 4:
                return httpx2.Response(200, json={"registration": {"state": "pending"}})
            return answer

    models = [asyncio.run(live(server, 102))[1] for server in (Ingest(), Slow())]
    quick, slow = ({name: model.state(name) for name in model.devices} for model in models)
    assert quick == slow
    assert models[0].held() == models[1].held()
    assert models[0].events == models[1].events
