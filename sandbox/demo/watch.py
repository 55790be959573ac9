"""Looks at both sides again and again, until they agree or nothing moves any more."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx2

from sandbox.admin_client import Event, Held, SandboxAdmin
from sandbox.demo.api import Api
from sandbox.demo.compare import Comparison, compare
from sandbox.demo.model import Model
from sandbox.demo.stack import Stack, StackError

NO_PROGRESS = 90.0  # seconds without any that end the wait
STABLE = 2.0  # seconds for which an agreement must last
LOOK = 1.0


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


async def settle(
    stack: Stack,
    watch: Watch,
    api: Api,
    show: Callable[[Comparison], None],
    *,
    stable: float = STABLE,
    no_progress: float = NO_PROGRESS,
) -> tuple[Comparison, dict[str, tuple[str, str]]]:
    """Wait until all agrees and goes on agreeing for `stable` seconds, or until nothing has moved for `no_progress`.

    Returns the last comparison, and each device's expected and found state. `show` is given every comparison.
    """
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
                await asyncio.sleep(stable)
                comparison = await watch.look(states)
                if comparison.agrees and watch.idle:
                    return comparison, states
        show(comparison)
        agreeing = sum(expected == found for expected, found in states.values())
        here = (comparison.distance - len(comparison.states or ()), -agreeing)
        if best is None or here < best:
            best, moved = here, time.monotonic()
        if time.monotonic() - moved > no_progress:
            states = await watch.states(api, states)
            return await watch.look(states), states
        await asyncio.sleep(LOOK)
