"""What the phones do, and when: a pure function of the seed.

Phones live in households of two, with three users between them. What one household does is done in its order, each
operation after the last one was answered; tokens and users are never shared between households. So the model is exact,
whatever is killed meanwhile.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from sandbox.demo.people import CONTACTS, Directory, Person, Population
from sandbox.demo.phones import new_token

USERS = 3
PAUSE = 10.0  # seconds between two things that a household does, at most
POISONED = 2  # tokens that CI-J refuses with 400 for as long as the run lasts

# What becomes of registrations with a token, in turn; the last for ever. The others succeed.
PASSING = (
    ("FailedToStoreDevice", "Success"),
    ("FailedToStoreDevice", "FailedToStoreDevice", "Success"),
    ("Pending", "Success"),
    ("PendingStored", "Success"),
)
FINAL = (("DryRunSendingFailed",), ("DeviceTokenTooLong",))


class What(StrEnum):
    """One thing that a phone does; the value is for people."""

    LAUNCH = "launch"
    BURST = "launch, posted three times at once"
    REFRESH = "launch by the app itself"
    NEW_TOKEN = "token change"  # noqa: S105 - no password
    CLAIM = "the other phone's token claimed"
    SIGN_OUT = "sign-out"
    OPT_OUT = "opt-out"
    OPT_IN = "opt-in"
    DELETE = "deletion"
    REINSTALL = "reinstallation"
    NEW_EMAIL = "new e-mail address"
    MERGE = "contact merged"
    OPEN = "notification opened"


@dataclass(frozen=True, slots=True)
class Operation:
    """`at` seconds from the start, or when the one before it was answered. `phone` 0 or 1, `user` 0 to 2. `token`: the
    phone has it from now on."""

    at: float
    what: What
    phone: int = 0
    user: int = 0
    token: str | None = None


@dataclass
class Household:
    """Two phones of one platform and their users.

    `emails`: the address that a user changes to; `merge`: the contacts that are merged, loser and master.
    """

    number: int
    platform: str
    people: list[Person]
    emails: dict[int, str]
    merge: tuple[str, str]
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """All households, what Dataverse knows of them, and the tokens that do not simply succeed."""

    households: list[Household]
    directory: Directory
    outcomes: dict[str, list[str]]
    poisoned: list[str]

    @property
    def dead_tokens(self) -> set[str]:
        """Those that CI-J never takes."""
        return {token for token, outcomes in self.outcomes.items() if tuple(outcomes) in FINAL}

    @property
    def operations(self) -> int:
        """How many there are."""
        return sum(len(household.operations) for household in self.households)


def plan(seed: int, phones: int, duration: float) -> Plan:
    """The lives of so many phones (an odd one is rounded up) within `duration` seconds."""
    population = Population(seed)
    made = Plan([], population.directory, {}, [])
    for number in range((phones + 1) // 2):
        rng = random.Random(f"household {seed} {number}")  # noqa: S311 - to be repeatable is what it is for
        household = _household(number, population, rng)
        _Story(household, made, rng).tell(duration)
        made.households.append(household)
    return made


def _household(number: int, population: Population, rng: random.Random) -> Household:
    add = population.directory.add
    first, contact = population.contact()
    others = [population.known(), rng.choice([population.known] * 3 + [population.unknown, population.ambiguous])()]
    if number % 5 == 4:  # two accounts that are one contact
        others = list(population.two_accounts())
    emails = {user: f"new-{number}-{user}@example.com" for user in (0, 1)}
    for email in emails.values():
        add(CONTACTS, email=email)
    master = add(CONTACTS, email=f"master-{number}@example.com")
    return Household(number, rng.choice(["ios", "android"]), [first, *others], emails, (contact, master))


class _Story:
    """Tells what one household does; keeps track of what is possible next."""

    def __init__(self, household: Household, plan: Plan, rng: random.Random) -> None:
        self._household = household
        self._plan = plan
        self._rng = rng
        self._at = rng.uniform(0.0, 3.0)
        self._user = [0, 1]  # signed in, or last signed in, by phone
        self._tokens = [self._new_token(plain=True) for _ in (0, 1)]
        self._once = [What.NEW_EMAIL, What.NEW_EMAIL, What.MERGE]  # what can still be done, each once

    def tell(self, duration: float) -> None:
        for phone in (0, 1):
            self._add(What.LAUNCH, phone, token=self._tokens[phone])
        chapters, weights = list(_CHAPTERS), list(_CHAPTERS.values())
        while (at := self._at + self._rng.random() * PAUSE) < duration:
            self._at = at
            self._rng.choices(chapters, weights)[0](self, self._rng.randrange(2))
        self._at = max(self._at, duration)
        for phone, token in enumerate(self._tokens):
            # Whether a poisoned token is registered or given up depends on when: it must not be the last.
            if token in self._plan.poisoned:
                self._tokens[phone] = self._new_token(plain=True)
                self._add(What.NEW_TOKEN, phone, token=self._tokens[phone])

    def _add(self, what: What, phone: int, *, user: int | None = None, token: str | None = None) -> None:
        if user is not None:
            self._user[phone] = user
        operation = Operation(round(self._at, 2), what, phone, self._user[phone], token)
        self._household.operations.append(operation)

    def _new_token(self, *, plain: bool = False) -> str:
        token = new_token(self._rng, self._household.platform)
        chance = self._rng.random()
        if plain or chance > 0.2:
            return token
        if chance < 0.03 and len(self._plan.poisoned) < POISONED:
            self._plan.poisoned.append(token)
        else:
            self._plan.outcomes[token] = list(self._rng.choice(FINAL if chance < 0.06 else PASSING))
        return token

    def _other(self, phone: int) -> int:
        return self._rng.choice([user for user in range(USERS) if user != self._user[phone]])

    def everyday(self, phone: int) -> None:
        self._add(self._rng.choice([What.LAUNCH, What.REFRESH, What.BURST]), phone)
        self._add(What.OPEN, phone)

    def token_change(self, phone: int) -> None:
        self._tokens[phone] = self._new_token()
        self._add(What.NEW_TOKEN, phone, token=self._tokens[phone])

    def hand_over(self, phone: int) -> None:
        self._add(What.LAUNCH, phone, user=self._other(phone))
        if self._rng.random() < 0.3:
            self._add(What.OPEN, phone)

    def there_and_back(self, phone: int) -> None:
        before = self._user[phone]
        self._add(What.LAUNCH, phone, user=self._other(phone))
        self._at += self._rng.choice([0.0, 0.3, 2.0])
        self._add(What.LAUNCH, phone, user=before)

    def claim(self, phone: int) -> None:
        self._tokens[phone] = self._tokens[1 - phone]
        self._add(What.CLAIM, phone, user=self._rng.randrange(USERS))
        if self._rng.random() < 0.5:  # and claimed back at once
            self._add(self._rng.choice([What.LAUNCH, What.REFRESH]), 1 - phone)
        elif self._rng.random() < 0.7:  # or the other one has a new one soon
            self._at += self._rng.choice([0.0, 4.0])
            self.token_change(1 - phone)

    def sign_out(self, phone: int) -> None:
        self._add(What.SIGN_OUT, phone)
        if self._rng.random() < 0.6:
            self._at += self._rng.choice([0.0, 1.0, 5.0])
            self._add(What.LAUNCH, phone)

    def opt_out(self, phone: int) -> None:
        self._add(What.OPT_OUT, phone)
        if self._rng.random() < 0.7:
            self._at += self._rng.choice([0.0, 1.0, 5.0])
            self._add(What.OPT_IN, phone)

    def delete(self, phone: int) -> None:
        self._add(What.DELETE, phone)
        self._at += self._rng.choice([0.0, 1.0, 5.0])
        if self._rng.random() < 0.8:
            self._add(What.LAUNCH, phone)

    def reinstall(self, phone: int) -> None:
        self._add(What.REINSTALL, phone)

    def once(self, phone: int) -> None:
        if self._once:
            what = self._once.pop(self._rng.randrange(len(self._once)))
            # The users with another address are 0 and 1.
            self._add(what, phone, user=self._once.count(What.NEW_EMAIL) if what is What.NEW_EMAIL else None)


_CHAPTERS: dict[Callable[[_Story, int], None], float] = {
    _Story.everyday: 4,
    _Story.token_change: 4,
    _Story.hand_over: 5,
    _Story.there_and_back: 2,
    _Story.claim: 2,
    _Story.sign_out: 2,
    _Story.opt_out: 1,
    _Story.delete: 1,
    _Story.reinstall: 1,
    _Story.once: 2,
}
