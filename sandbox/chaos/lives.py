"""The phones live through what was planned for them."""

import asyncio
import random
import time
from dataclasses import dataclass, replace

from sandbox.admin_client import SandboxAdmin
from sandbox.chaos.operations import Household, Operation, Plan, What
from sandbox.demo.api import Api, UnexpectedAnswerError
from sandbox.demo.model import Model
from sandbox.demo.phones import Phone


@dataclass
class Lives:
    """All households of a plan. `done` counts the operations that were answered."""

    plan: Plan
    seed: int
    api: Api
    model: Model
    admin: SandboxAdmin
    done: int = 0

    async def run(self, began: float) -> None:
        """Live all lives; `began` is the start by the event loop's clock. UnexpectedAnswerError ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                for household in self.plan.households:
                    group.create_task(_Home(self, household).live(began))
        except ExceptionGroup as errors:
            unexpected, others = errors.split(UnexpectedAnswerError)
            if others:
                raise others from None
            raise unexpected.exceptions[0] if unexpected else errors from None


class _Home:
    def __init__(self, lives: Lives, household: Household) -> None:
        self._lives = lives
        self._household = household
        self._people = list(household.people)
        self._reinstalled = 0
        self._phones: list[Phone] = []
        for number in (0, 1):
            name = f"phone-{lives.seed}-{household.number}-{number}"
            phone = Phone(lives.api, lives.model, random.Random(name), name, 1.0)  # noqa: S311 - to be repeatable
            phone.platform = household.platform
            self._phones.append(phone)

    async def live(self, began: float) -> None:
        clock = asyncio.get_running_loop().time
        for operation in self._household.operations:
            await asyncio.sleep(max(0.0, began + operation.at - clock()))
            await self._do(operation)
            self._lives.done += 1

    async def _do(self, operation: Operation) -> None:
        phone, person = self._phones[operation.phone], self._people[operation.user]
        await self._take_token(phone, operation)
        match operation.what:
            case What.LAUNCH:
                await phone.launch(person)
            case What.BURST:
                await phone.launch_at_once(person, 3)
            case What.REFRESH | What.NEW_TOKEN:
                await phone.refresh()
            case What.CLAIM:
                phone.token = self._phones[1 - operation.phone].token
                await phone.launch(person)
            case What.SIGN_OUT:
                await phone.sign_out()
            case What.OPT_OUT | What.OPT_IN:
                await phone.launch(person, push_consent=operation.what is What.OPT_IN)
            case What.DELETE:
                await phone.delete()
            case What.OPEN:
                await phone.open_notification()
            case _:
                await self._do_once(operation)

    async def _take_token(self, phone: Phone, operation: Operation) -> None:
        if operation.what is What.NEW_TOKEN:
            await phone.prove()
        if operation.token is not None:
            phone.token = operation.token

    async def _do_once(self, operation: Operation) -> None:
        phone, person = self._phones[operation.phone], self._people[operation.user]
        match operation.what:
            case What.REINSTALL:
                self._reinstalled += 1
                again = phone.sibling(f"again-{self._reinstalled}")
                again.platform, again.token = phone.platform, phone.token
                self._phones[operation.phone] = again
                await again.launch(person)
            case What.NEW_EMAIL:
                person = replace(person, email=self._household.emails[operation.user])
                self._people[operation.user] = person
                await phone.launch(person)
            case What.MERGE:
                rows = self._lives.plan.directory.merge(*self._household.merge)
                # Both rows in one call: nobody sees two active contacts with one address, or none.
                await asyncio.to_thread(self._lives.admin.add_records, "contacts", rows)
                self._lives.model.look_again(time.time())
