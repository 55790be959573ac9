"""The run itself: seed Dataverse, let the fleet live, wait until all agrees or nothing moves any more."""

import asyncio
import time

from sandbox.admin_client import SandboxAdmin
from sandbox.demo.api import Api
from sandbox.demo.compare import handovers, registration_times, relay_times
from sandbox.demo.fleet import Fleet
from sandbox.demo.model import Model
from sandbox.demo.people import Directory, Population
from sandbox.demo.report import Display, Run
from sandbox.demo.stack import Details, Stack
from sandbox.demo.watch import LOOK, Watch, settle

SEED_CHUNK = 2000


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
            comparison, states = await settle(
                stack, watch, api, lambda comparison: display.update(fleet.progress.done, comparison)
            )
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
        relay_times=relay_times(model.event_times, watch.received),
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
