"""The run itself: phones live, processes die, calls fail; then all is left alone and compared."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sandbox import script
from sandbox.admin_client import SandboxAdmin
from sandbox.chaos.disturb import Disturber
from sandbox.chaos.lives import Lives
from sandbox.chaos.operations import Plan, plan
from sandbox.chaos.outcome import handover_times, races
from sandbox.chaos.processes import Processes
from sandbox.chaos.report import Progress, Result
from sandbox.chaos.schedule import Disturbance
from sandbox.chaos.schedule import plan as plan_disturbances
from sandbox.demo.api import Api
from sandbox.demo.compare import handovers
from sandbox.demo.drive import seed
from sandbox.demo.model import Model
from sandbox.demo.stack import Details, Stack
from sandbox.demo.watch import LOOK, Watch, settle
from sandbox.faults import Action

DEADLINE = 4  # seconds that the stack waits for an answer of Microsoft's side
# Everything that takes a minute takes seconds. docs/chaos.md says how they hang together.
HURRY = {
    "TOKENHUB_LEASE_SECONDS": "15",
    "TOKENHUB_CLEANUP_ECHO_SECONDS": "20",
    "TOKENHUB_CALL_DEADLINE_SECONDS": str(DEADLINE),
    "TOKENHUB_HANDOVER_PATIENCE_SECONDS": "12",
    "TOKENHUB_PENDING_LIMIT_HOURS": str(40 / 3600),
    "TOKENHUB_MAPPING_RECHECK_HOURS": str(20 / 3600),
    "TOKENHUB_SWEEP_SECONDS": "3",
}
# Left out: what has one token fail for good, which the model must know of. Such tokens are planned by `operations`.
WEIGHTS = {
    "poison item": 0.0,
    "pending for ever": 0.0,
    "pending for ever, but held": 0.0,
    "DryRunSendingFailed": 0.0,
    "DeviceTokenTooLong": 0.0,
    "DuplicateExists": 0.0,
    # It rests the whole app for 15 s, which is a rest from chaos too.
    "ApiTokenNotValid": 0.3,
}
STABLE = 6.0  # seconds: longer than any call is held up by a fault
NO_PROGRESS = 180.0  # seconds: longer than any rest that the faults lead to
PATIENCE = 180.0  # seconds that a phone goes on trying
REQUEST = 60.0  # seconds; longer than tokenhub can be busy with a request, so that none overtakes its own repetition
CIJ = frozenset({"register", "register_batch", "status", "cleanup", "cleanup_batch", "event"})


def faults(run_seed: int, duration: float, poisoned: Sequence[str]) -> list[script.Step]:
    """The fault script of this seed. The poisoned tokens are refused from beginning to end."""
    steps = script.make(run_seed, duration, DEADLINE, WEIGHTS)
    poison = Action(poison=True)
    always = [
        script.Step(0.0, "poison item", "register_batch", poison, times=None, token=token, lasts=None)
        for token in poisoned
    ]
    return [*always, *steps]


def fingerprint(*parts: object) -> str:
    """The same for the same schedule."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


async def drive(
    stack: Stack, details: Details, progress: Progress, *, phones: int, run_seed: int, duration: float
) -> Result:
    """One run on a stack that is ready. Raises DemoError where it cannot be finished."""
    made, disturbances = plan(run_seed, phones, duration), plan_disturbances(run_seed, duration)
    steps = faults(run_seed, duration, made.poisoned)
    progress.say(_in_short(run_seed, made, disturbances, steps))
    api = Api(
        details.url,
        server_key=details.server_key,
        mobile_key=details.mobile_key,
        timeout=REQUEST,
        patience=PATIENCE,
        from_answer=True,
    )
    model = Model(made.directory, made.dead_tokens)
    with SandboxAdmin.from_file(details.sandbox) as admin:
        watch = Watch(admin, details.mobile_app_id, model)
        await asyncio.to_thread(seed, admin, made.directory, set())
        await asyncio.to_thread(admin.set_outcomes, made.outcomes)
        lives = Lives(made, run_seed, api, model, admin)
        disturber = Disturber(Processes(stack.pid), admin, stack.data, progress.say)
        try:
            await asyncio.to_thread(admin.run_script, [asdict(step) for step in steps])
            began = asyncio.get_running_loop().time()
            watching = _watch(stack, watch, lives, progress)
            await _until_done(watching, lives.run(began), disturber.run(disturbances, began), asyncio.sleep(duration))
            played = (await asyncio.to_thread(admin.script))["played"]
            await asyncio.to_thread(admin.stop_script)
            await asyncio.to_thread(admin.clear_faults)
            progress.say("the phones are done, nothing is disturbed any more; waiting until all is quiet")
            calm = time.monotonic()
            comparison, states = await settle(
                stack,
                watch,
                api,
                lambda comparison: progress.update(lives.done, made, comparison),
                stable=STABLE,
                no_progress=NO_PROGRESS,
            )
        finally:
            await api.close()
        effects, calls = await asyncio.to_thread(admin.effects), await asyncio.to_thread(admin.calls)
    return Result(
        seed=run_seed,
        duration=duration,
        comparison=comparison,
        devices=len(states),
        operations=lives.done,
        posts=api.answers,
        repeated=api.retries,
        calls_answered=sum(call.kind in CIJ and call.status is not None for call in calls),
        calls_faulty=sum(call.fault is not None for call in calls),
        disturbances=disturber.done,
        faults=played,
        violations=handovers(effects).violations,
        races=races(calls, effects),
        handover_times=handover_times(model.episodes, effects),
        settled_in=time.monotonic() - calm,
        total=progress.seconds,
    )


def _in_short(run_seed: int, made: Plan, disturbances: Sequence[Disturbance], steps: Sequence[script.Step]) -> str:
    done = Counter(operation.what for household in made.households for operation in household.operations)
    listed = ", ".join(f"{count} x {what}" for what, count in done.most_common())
    times = ", ".join(f"{disturbance.at:.0f} s {disturbance.kind}" for disturbance in disturbances)
    name = fingerprint([household.operations for household in made.households], disturbances, steps)
    return (
        f"schedule {name} of seed {run_seed}: {2 * len(made.households)} phones with {made.operations} operations "
        f"({listed}); {len(steps)} faults; {len(disturbances)} kills and cuts: {times}"
    )


async def _watch(stack: Stack, watch: Watch, lives: Lives, progress: Progress) -> None:
    while True:
        stack.check()
        progress.update(lives.done, lives.plan, await watch.look())
        await asyncio.sleep(LOOK)


async def _until_done(watching: Coroutine[Any, Any, None], *works: Coroutine[Any, Any, None]) -> None:
    """Until all works are done. The watcher, which ends only with an error, ends them with it."""
    watcher, work = asyncio.create_task(watching), asyncio.create_task(_all(works))
    await asyncio.wait([watcher, work], return_when=asyncio.FIRST_COMPLETED)
    watcher.cancel()
    work.cancel()
    for error in await asyncio.gather(watcher, work, return_exceptions=True):
        if isinstance(error, Exception):
            raise error


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*works)
