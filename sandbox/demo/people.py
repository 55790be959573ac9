"""The people of the demo, and the records that Dataverse has of them, with all the awkwardness that both come with."""

import random
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

# Where users are looked for, in the demo app's order of preference: table, id, e-mail and phone columns.
TABLES = (
    ("contacts", "contactid", "emailaddress1", "mobilephone"),
    ("leads", "leadid", "emailaddress1", "mobilephone"),
    ("msdynci_customerprofiles", "msdynci_customerprofileid", "msdynci_email", "msdynci_phone"),
)
CONTACTS, LEADS, PROFILES = (table[0] for table in TABLES)
MAPPED, AMBIGUOUS, NOT_FOUND = "mapped", "ambiguous", "not_found"


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the app, with what the app's server posts of them; `phone` as a human writes it."""

    user_id: str
    email: str | None
    phone: str | None

    def as_json(self) -> dict[str, Any]:
        """The `user` of a launch post."""
        given = {"id": self.user_id, "email": self.email, "phone": self.phone}
        return {name: value for name, value in given.items() if value is not None}


class Match(NamedTuple):
    """What a look-up comes to: `mapped` to an id, `ambiguous`, or `not_found`."""

    state: str
    record_id: str | None = None


class Directory:
    """Dataverse's rows as the demo puts them there, and the demo's own idea of what a look-up in them must find."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.rows: dict[str, list[dict[str, Any]]] = {table[0]: [] for table in TABLES}
        self._active: dict[tuple[str, str, str], list[str]] = defaultdict(list)

    def add(self, table: str, *, email: str | None = None, phone: str | None = None, active: bool = True) -> str:
        """Add a record and return its id."""
        _, id_column, email_column, phone_column = next(entry for entry in TABLES if entry[0] == table)
        record_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        row = {id_column: record_id, email_column: email, phone_column: phone, "statecode": 0 if active else 1}
        self.rows[table].append(row)
        for key, value in (("email", email), ("phone", phone)):
            if value and active:
                self._active[table, key, value.casefold()].append(record_id)
        return record_id

    def merge(self, loser_id: str, master_id: str) -> list[dict[str, Any]]:
        """Merge one contact into another, which takes its e-mail address and phone number over. Returns both rows."""
        rows = {row["contactid"]: row for row in self.rows[CONTACTS]}
        loser, master = rows[loser_id], rows[master_id]
        for key, column in (("email", "emailaddress1"), ("phone", "mobilephone")):
            if value := loser[column]:
                if old := master[column]:
                    self._active[CONTACTS, key, old.casefold()].remove(master_id)
                master[column] = value
                found = self._active[CONTACTS, key, value.casefold()]
                found[found.index(loser_id)] = master_id
        loser |= {"statecode": 1, "merged": True, "_masterid_value": master_id}
        return [loser, master]

    def find(self, email: str | None, phone: str | None) -> Match:
        """Table by table, e-mail before phone; the first that has any active record decides, several are ambiguous."""
        for table, *_ in TABLES:
            for key, value in (("email", email), ("phone", e164(phone) if phone else None)):
                found = self._active.get((table, key, value.casefold())) if value else None
                if found:
                    return Match(MAPPED, found[0]) if len(found) == 1 else Match(AMBIGUOUS)
        return Match(NOT_FOUND)


def e164(phone: str) -> str:
    """A number that was written with its country code, as Dataverse has it here: `+` and digits."""
    return "+" + "".join(character for character in phone if character.isdigit())


# How somebody can be known to Dataverse. Every look-up of these must find exactly one record.
KNOWN = (
    "contact by e-mail",
    "contact by phone",
    "lead by e-mail",
    "lead by phone",
    "profile by e-mail",
    "profile by phone",
    "contact before lead",
    "inactive contact, active lead",
    "e-mail before phone",
    "one active of three",
)


class Population:
    """Makes people one after the other, each with records of their own in the directory."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"people {seed}")  # noqa: S311 - to be repeatable is what it is for
        self.directory = Directory(self._rng)
        self._count = 0

    def known(self) -> Person:
        """Somebody whom Dataverse knows, in one of the ways of KNOWN, in turn."""
        return self._with_records(KNOWN[self._count % len(KNOWN)])

    def unknown(self) -> Person:
        """Somebody whom Dataverse does not know, or of whom the app knows nothing to look up by."""
        person = self._person()
        return Person(person.user_id, None, None) if self._rng.random() < 0.2 else person

    def ambiguous(self) -> Person:
        """Somebody with several active records in one table under one key; what matches later must not matter."""
        person = self._person()
        table = self._rng.choice([CONTACTS, LEADS])
        by_email = self._rng.random() < 0.5
        for _ in range(self._rng.randint(2, 3)):
            if by_email:
                self.directory.add(table, email=person.email)
            else:
                self.directory.add(table, phone=e164(person.phone or ""))
        self.directory.add(PROFILES, email=person.email)
        return person

    def two_accounts(self) -> tuple[Person, Person]:
        """Two users of the app who are one contact: one is found by e-mail, the other by phone."""
        person = self._person()
        self.directory.add(CONTACTS, email=person.email, phone=e164(person.phone or ""))
        return Person(person.user_id, person.email, None), Person(f"{person.user_id}-b", None, person.phone)

    def contact(self) -> tuple[Person, str]:
        """Somebody who is one contact, found by e-mail; and that contact's id."""
        person = self._person()
        return person, self.directory.add(CONTACTS, email=person.email)

    def _with_records(self, kind: str) -> Person:
        person = self._person()
        email, phone = self._otherwise_spelt(person.email or ""), e164(person.phone or "")
        add = self.directory.add
        match kind:
            case "contact before lead":
                add(LEADS, email=email)
                add(CONTACTS, phone=phone)
            case "inactive contact, active lead":
                add(CONTACTS, email=email, active=False)
                add(LEADS, email=email)
            case "e-mail before phone":
                add(CONTACTS, phone=phone)
                add(CONTACTS, email=email)
            case "one active of three":
                add(CONTACTS, email=email, active=False)
                add(CONTACTS, email=email, active=False)
                add(CONTACTS, email=email)
            case _:
                name, _, key = kind.partition(" by ")
                table = {"contact": CONTACTS, "lead": LEADS, "profile": PROFILES}[name]
                add(table, email=email if key == "e-mail" else None, phone=phone if key == "phone" else None)
        return person

    def _person(self) -> Person:
        self._count += 1
        number = self._count
        local = self._rng.choice(
            ["anna.{}", "o'neil.{}", "d'angelo+push.{}", "jürgen.{}", "zoë.müller+{}", "BERT.{}", "x_{}-y", "łukasz.{}"]
        ).format(number)
        domain = self._rng.choice(["example.com", "Example.ORG", "bücher.example.net"])
        digits = f"{number:07d}"
        phone = self._rng.choice(["+491511{0}", "+49 1511 {0}", "+49-1511-{0}", "+49 (1511) {1} {2}"])
        return Person(f"user-{number}", f"{local}@{domain}", phone.format(digits, digits[:3], digits[3:]))

    def _otherwise_spelt(self, email: str) -> str:
        return self._rng.choice([email, email.upper(), email.lower(), email.title()])
