"""Does to the stack what the schedule says."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import redis

from sandbox.admin_client import SandboxAdmin
from sandbox.chaos.processes import Processes, end
from sandbox.chaos.schedule import ENDS, Disturbance, Kind

# A process that was killed a moment ago is on its way back: it is waited for.
PATIENCE = 20.0
LOOK = 0.1
# Celery gives a worker up whose children die while it starts: that would be a kill of the worker, not of a child.
SETTLED = 6.0


class Disturber:
    """`data` is the stack's folder. `done` counts what was done; what could not be done in time is only said."""

    def __init__(self, processes: Processes, admin: SandboxAdmin, data: Path, say: Callable[[str], None]) -> None:
        self._processes = processes
        self._admin = admin
        self._data = data
        self._say = say
        self.done: Counter[Kind] = Counter()

    async def run(self, schedule: Sequence[Disturbance], began: float) -> None:
        """Do it all in its order; `began` is the start by the event loop's clock."""
        clock = asyncio.get_running_loop().time
        for disturbance in schedule:
            await asyncio.sleep(max(0.0, began + disturbance.at - clock()))
            if await self._do(disturbance):
                self.done[disturbance.kind] += 1
                lasts = f" for {disturbance.lasts:.1f} s" if disturbance.lasts else ""
                self._say(f"{disturbance.kind}{lasts}")
            else:
                self._say(f"{disturbance.kind}: not done, it was not there for {PATIENCE:.0f} s")

    async def _do(self, disturbance: Disturbance) -> bool:
        match disturbance.kind:
            case Kind.FROZEN:
                return await self._freeze(disturbance.lasts)
            case Kind.DROPPED:
                return await self._drop(disturbance.lasts)
            case Kind.VALKEY_EMPTIED:
                return await self._until(self._empty)
            case Kind.POOL:
                pick = disturbance.pick
                return await self._until(
                    lambda: self._end(self._processes.find_child_of("worker", pick, settled=SETTLED), signal.SIGKILL)
                )
            case kind:
                # SIGINT is PostgreSQL's fast shutdown: sessions are ended, and it is left in good order.
                number = signal.SIGINT if kind is Kind.POSTGRES_RESTARTED else signal.SIGKILL
                return await self._until(lambda: self._end(self._processes.find(ENDS[kind][0]), number))

    async def _until(self, attempt: Callable[[], bool]) -> bool:
        ends = asyncio.get_running_loop().time() + PATIENCE
        while not await asyncio.to_thread(attempt):
            if asyncio.get_running_loop().time() > ends:
                return False
            await asyncio.sleep(LOOK)
        return True

    @staticmethod
    def _end(process: psutil.Process | None, number: signal.Signals) -> bool:
        return process is not None and end(process, number)

    def _empty(self) -> bool:
        try:
            url = json.loads((self._data / "running.json").read_text())["redis_url"]
            with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as valkey:
                return bool(valkey.flushall())
        except (OSError, redis.RedisError):
            return False

    async def _freeze(self, seconds: float) -> bool:
        process = self._processes.find("sandbox")
        if process is None:
            return False
        process.suspend()
        try:
            await asyncio.sleep(seconds)
        finally:
            process.resume()
        return True

    async def _drop(self, seconds: float) -> bool:
        name = await asyncio.to_thread(self._admin.add_fault, "*", times=None, drop_connection="before")
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(self._admin.remove_fault, name)
        return True
