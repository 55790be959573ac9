"""The fleet: which phone lives through what. Every scenario is a short life of one phone and its people."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sandbox.demo.api import Api, UnexpectedAnswerError
from sandbox.demo.model import Model
from sandbox.demo.people import Person, Population
from sandbox.demo.phones import Phone, new_token

type Life = Callable[[Phone], Awaitable[None]]


@dataclass(slots=True)
class Progress:
    """How far the fleet is."""

    phones: int
    done: int = 0
    surprises: list[str] = field(default_factory=list)


class Fleet:
    """`phones` lives, each with a random generator of its own, so that the same seed makes the same fleet.

    `dead_tokens` can be asked for before it runs: the sandbox has to know for which tokens a test message fails.
    """

    def __init__(self, phones: int, seed: int, population: Population) -> None:
        self._population = population
        self._seed = seed
        self._rng = random.Random(f"fleet {seed}")  # noqa: S311 - to be repeatable is what it is for
        self.progress = Progress(phones)
        self.dead_tokens: set[str] = set()
        scenarios = [*_ONCE, *_OFTEN]
        self._lives = [scenarios[number % len(scenarios)](self) for number in range(phones)]

    async def run(self, api: Api, model: Model, *, ramp: float, pace: float) -> None:
        """Live all lives, begun within `ramp` seconds; `pace` scales the pauses. The first phone that
        gets an UnexpectedAnswerError ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                for number, life in enumerate(self._lives):
                    rng = random.Random(f"phone {self._seed} {number}")  # noqa: S311 - as above
                    phone = Phone(api, model, rng, f"phone-{self._seed}-{number}", pace)
                    group.create_task(self._live(life, phone, rng.random() * ramp))
        except ExceptionGroup as errors:
            unexpected, others = errors.split(UnexpectedAnswerError)
            if others:
                raise others from None
            raise unexpected.exceptions[0] if unexpected else errors from None

    async def _live(self, life: Life, phone: Phone, delay: float) -> None:
        await asyncio.sleep(delay)
        await life(phone)
        self.progress.done += 1
        self.progress.surprises += phone.surprises

    def everyday(self) -> Life:
        """Launch after launch, nothing new; sometimes a notification is opened."""
        person = self._population.known()

        async def life(phone: Phone) -> None:
            await phone.launch(person)
            for _ in range(phone.rng.randint(2, 5)):
                await phone.pause(3)
                result = await (phone.refresh() if phone.rng.random() < 0.5 else phone.launch(person))
                if result != "unchanged":
                    phone.surprises.append(f"{phone.name}: a repeated launch was {result}")
                if phone.rng.random() < 0.4:
                    await phone.open_notification()

        return life

    def new_tokens(self) -> Life:
        """The token changes, once after the old one was registered, and sometimes again at once."""
        person = self._population.known()

        async def life(phone: Phone) -> None:
            await phone.launch(person)
            if phone.rng.random() < 0.7:
                await phone.until_registered()
            for _ in range(phone.rng.randint(1, 3)):
                await phone.change_token()
                await phone.open_notification()
                await phone.pause(2)

        return life

    def hand_over(self) -> Life:
        """A shared device: one user after the other, and sometimes back again."""
        first, second = self._population.known(), self._population.known()

        async def life(phone: Phone) -> None:
            await phone.launch(first)
            if phone.rng.random() < 0.7:
                await phone.until_registered()
            else:
                await phone.pause(2)
            await phone.launch(second)
            await phone.open_notification()
            if phone.rng.random() < 0.3:
                await phone.pause(3)
                await phone.launch(first)

        return life

    def hand_over_to_strangers(self) -> Life:
        """A shared device goes to somebody whom Dataverse does not know, or knows too well."""
        first = self._population.known()
        other = self._population.unknown() if self._rng.random() < 0.5 else self._population.ambiguous()

        async def life(phone: Phone) -> None:
            await phone.launch(first)
            await phone.until_registered()
            await phone.launch(other)

        return life

    def sign_out(self) -> Life:
        """Signs out; sometimes comes back."""
        person = self._population.known()

        async def life(phone: Phone) -> None:
            await phone.launch(person)
            if phone.rng.random() < 0.6:
                await phone.until_registered()
            await phone.sign_out()
            await phone.sign_out()
            await phone.open_notification()
            if phone.rng.random() < 0.4:
                await phone.pause(4)
                await phone.launch(person)

        return life

    def two_devices(self) -> Life:
        """A phone and a tablet of one user; one of them is signed out in the end, sometimes."""
        person = self._population.known()

        async def life(phone: Phone) -> None:
            tablet = phone.sibling("tablet")
            await asyncio.gather(phone.launch(person), tablet.launch(person))
            await phone.pause(3)
            await tablet.open_notification()
            if phone.rng.random() < 0.3:
                await tablet.sign_out()

        return life

    def unknown(self) -> Life:
        """A user of whom Dataverse knows nothing."""
        return self._launches_of(self._population.unknown())

    def ambiguous(self) -> Life:
        """A user of whom Dataverse knows too much."""
        return self._launches_of(self._population.ambiguous())

    def _launches_of(self, person: Person) -> Life:
        async def life(phone: Phone) -> None:
            await phone.launch(person)
            await phone.pause(3)
            await phone.launch(person)
            await phone.open_notification()

        return life

    def opts_out(self) -> Life:
        """Withdraws the consent to push, at once or after a while; sometimes gives it again."""
        person = self._population.known()

        async def life(phone: Phone) -> None:
            if phone.rng.random() < 0.7:
                await phone.launch(person)
                await phone.until_registered()
            await phone.launch(person, push_consent=False)
            if phone.rng.random() < 0.3:
                await phone.pause(4)
                await phone.launch(person, push_consent=True)

        return life

    def untracked(self) -> Life:
        """Consents to push, not to tracking: what is opened is nobody's business. Test sends are not relayed either."""
        person = self._population.known()

        async def life(phone: Phone) -> None:
            await phone.launch(person)
            await phone.open_notification(test_send=True)
            await phone.open_notification()
            await phone.launch(person, tracking_consent=False)
            await phone.open_notification()

        return life

    def deleted(self) -> Life:
        """The app is removed; sometimes it comes back."""
        person = self._population.known()

        async def life(phone: Phone) -> None:
            await phone.launch(person)
            if phone.rng.random() < 0.6:
                await phone.until_registered()
            await phone.delete()
            if phone.rng.random() < 0.4:
                await phone.pause(4)
                await phone.launch(person)

        return life

    def reinstalled(self) -> Life:
        """The app is installed anew and keeps its token: the old installation is gone."""
        person = self._population.known()

        async def life(phone: Phone) -> None:
            await phone.launch(person)
            await phone.pause(5)
            again = phone.sibling("again")
            again.platform, again.token = phone.platform, phone.token
            await again.launch(person)

        return life

    def two_accounts(self) -> Life:
        """Switches between two accounts that are one contact: nothing changes for CI-J."""
        one, other = self._population.two_accounts()

        async def life(phone: Phone) -> None:
            for person in (one, other, one):
                await phone.launch(person)
                await phone.pause(2)

        return life

    def nobody(self) -> Life:
        """Nobody ever signs in; notifications are opened all the same."""

        async def life(phone: Phone) -> None:
            await phone.refresh()
            await phone.open_notification()
            await phone.open_notification()

        return life

    def burst(self) -> Life:
        """The first launch is posted several times at once."""
        person = self._population.known()

        async def life(phone: Phone) -> None:
            await phone.launch_at_once(person, 5)
            await phone.open_notification()

        return life

    def dead_token(self) -> Life:
        """The token is dead, says CI-J; sometimes a better one follows."""
        person = self._population.known()
        token = new_token(self._rng, "android")
        self.dead_tokens.add(token)

        async def life(phone: Phone) -> None:
            phone.platform, phone.token = "android", token
            await phone.launch(person)
            if phone.rng.random() < 0.5:
                await phone.pause(5)
                await phone.change_token()

        return life


# A small fleet lives through each of these once before any is repeated; a large one has more of the common ones.
_ONCE: tuple[Callable[[Fleet], Life], ...] = (
    Fleet.everyday,
    Fleet.new_tokens,
    Fleet.hand_over,
    Fleet.sign_out,
    Fleet.two_devices,
    Fleet.unknown,
    Fleet.ambiguous,
    Fleet.opts_out,
    Fleet.untracked,
    Fleet.deleted,
    Fleet.reinstalled,
    Fleet.two_accounts,
    Fleet.nobody,
    Fleet.burst,
    Fleet.dead_token,
    Fleet.hand_over_to_strangers,
)
_OFTEN = (*[Fleet.everyday] * 7, *[Fleet.new_tokens] * 3, *[Fleet.hand_over] * 4, Fleet.two_devices, Fleet.sign_out)
