"""The run itself: seed Dataverse, let the fleet live, wait until all agrees or nothing moves any more."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2

from sandbox.admin_client import Event, Held, SandboxAdmin
from sandbox.demo.api import Api
from sandbox.demo.compare import Comparison, compare, handovers, registration_times
from sandbox.demo.fleet import Fleet
from sandbox.demo.model import Model
from sandbox.demo.people import Directory, Population
from sandbox.demo.report import Display, Run
from sandbox.demo.stack import Details, Stack, StackError

NO_PROGRESS = 90.0  # seconds without any that end the wait
STABLE = 2.0  # seconds for which an agreement must last
LOOK = 1.0
SEED_CHUNK = 2000


@dataclass
class Watch:
    """Looks at both sides: the sandbox's memory, and tokenhub's answers."""

    admin: SandboxAdmin
    mobile_app_id: str
    model: Model
    received: list[Event] = field(default_factory=list)
    idle: bool = False

    async def look(self, states: Mapping[str, tuple[str, str]] | None = None) -> Comparison:
        """Compare what is held and relayed now, and the states if they were asked for."""
        held = await asyncio.to_thread(self._ask)
        pairs = {(device.user_id, device.token) for device in held}
        return compare(self.model.held(), pairs, self.model.events, self.received, states)

    def _ask(self) -> list[Held]:
        try:
            # Asked for first: what is idle now has done all that is read afterwards.
            self.idle = self.admin.summary()["waiting"] == 0
            self.received += self.admin.events(self.received[-1].seq if self.received else 0)
            return self.admin.held(self.mobile_app_id)
        except httpx2.HTTPError as error:
            raise StackError(f"the sandbox does not answer: {error!r}") from error

    async def states(self, api: Api, known: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
        """Expected and found state of every device; those that agreed before are not asked for again."""
        names = [name for name in self.model.devices if name not in known or len(set(known[name])) > 1]
        found = await asyncio.gather(*[api.state(name) for name in names])
        return {**known, **{name: (self.model.state(name), state) for name, state in zip(names, found, strict=True)}}


def seed(admin: SandboxAdmin, directory: Directory, dead_tokens: set[str]) -> int:
    """Put the people's records into the sandbox's Dataverse; tell which tokens fail. Returns the number of records."""
    for table, rows in directory.rows.items():
        for start in range(0, len(rows), SEED_CHUNK):
            admin.add_records(table, rows[start : start + SEED_CHUNK])
    admin.set_outcomes(dict.fromkeys(dead_tokens, "DryRunSendingFailed"))
    return sum(map(len, directory.rows.values()))


async def drive(
    stack: Stack, details: Details, display: Display, *, phones: int, run_seed: int, started_in: float
) -> Run:
    """One run on a stack that is ready. Raises DemoError where it cannot be finished."""
    began = time.monotonic()
    population = Population(run_seed)
    fleet = Fleet(phones, run_seed, population)
    api = Api(details.url, server_key=details.server_key, mobile_key=details.mobile_key)
    model = Model(population.directory, fleet.dead_tokens)
    with SandboxAdmin.from_file(details.sandbox) as admin:
        watch = Watch(admin, details.mobile_app_id, model)
        records = await asyncio.to_thread(seed, admin, population.directory, fleet.dead_tokens)
        display.say(f"Dataverse holds {records} records; {phones} phones begin")
        try:
            watcher = asyncio.create_task(_watch(stack, watch, fleet, display))
            living = asyncio.create_task(fleet.run(api, model, ramp=min(15.0, phones / 30), pace=1.0))
            await asyncio.wait([watcher, living], return_when=asyncio.FIRST_COMPLETED)
            # The watcher ends only with an error; then the fleet has nobody to speak to.
            if watcher.done():
                living.cancel()
                await watcher
            watcher.cancel()
            await living
            fleet_took = time.monotonic() - began
            display.say(f"all phones are done; {len(model.devices)} installations are to agree")
            comparison, states = await _settle(stack, watch, api, fleet, display)
        finally:
            await api.close()
        effects = await asyncio.to_thread(admin.effects)
    took = time.monotonic() - began
    return Run(
        comparison=comparison,
        events_reported=model.events_reported,
        states=states,
        handovers=handovers(effects),
        surprises=fleet.progress.surprises,
        results=api.results,
        answers=api.answers,
        retries=api.retries,
        answer_times=sorted(api.durations),
        registration_times=registration_times(model.episodes, effects),
        started_in=started_in,
        fleet_took=fleet_took,
        settled_in=took - fleet_took,
        total=started_in + took,
    )


async def _watch(stack: Stack, watch: Watch, fleet: Fleet, display: Display) -> None:
    while True:
        stack.check()
        display.update(fleet.progress.done, await watch.look())
        await asyncio.sleep(LOOK)


async def _settle(
    stack: Stack, watch: Watch, api: Api, fleet: Fleet, display: Display
) -> tuple[Comparison, dict[str, tuple[str, str]]]:
    """Wait until all agrees and goes on agreeing, or until nothing has moved for long. Returns the last comparison."""
    states: dict[str, tuple[str, str]] = {}
    best: tuple[int, int] | None = None
    moved = time.monotonic()
    while True:
        stack.check()
        comparison = await watch.look()
        if comparison.distance == 0 and watch.idle:
            states = await watch.states(api, states)
            comparison = await watch.look(states)
            if comparison.agrees:
                await asyncio.sleep(STABLE)
                comparison = await watch.look(states)
                if comparison.agrees and watch.idle:
                    return comparison, states
        display.update(fleet.progress.done, comparison)
        agreeing = sum(expected == found for expected, found in states.values())
        here = (comparison.distance - len(comparison.states or ()), -agreeing)
        if best is None or here < best:
            best, moved = here, time.monotonic()
        if time.monotonic() - moved > NO_PROGRESS:
            states = await watch.states(api, states)
            return await watch.look(states), states
        await asyncio.sleep(LOOK)
