"""Change tracking: what became of each row since when, and the tokens that ask for it.

Source: use-change-tracking-synchronize-data-external-systems.md. A delta token looks as in its sample, a version and
the time it was given out: `919042!08/22/2017 08:10:44`. With which status an expired one is refused is not documented;
the code is that of the error ExpiredVersionStamp.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from sandbox.dataverse import errors

_TIME = "%m/%d/%Y %H:%M:%S"


class Change(NamedTuple):
    """A row that was added or changed, or (`gone`) deleted."""

    gone: bool
    version: int
    row_id: str


@dataclass
class ChangeLog:
    """The last change of every row of one table, oldest first."""

    version: int = 1
    changed: dict[str, int] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)

    def note(self, row_id: str, *, gone: bool = False) -> None:
        """The row changed now."""
        self.version += 1
        self.changed.pop(row_id, None)
        self.deleted.pop(row_id, None)
        (self.deleted if gone else self.changed)[row_id] = self.version

    def between(self, reading: "Reading") -> list[Change]:
        """What is left of a reading: rows that are there in the order of their versions, then those that are gone."""
        kept = [Change(False, version, row_id) for row_id, version in self.changed.items()]
        gone = [Change(True, version, row_id) for row_id, version in self.deleted.items()]
        # Who has nothing yet learns of no deletions.
        found = kept + gone if reading.since else kept
        return [
            change
            for change in found
            if reading.since < change.version <= reading.until and change[:2] > (reading.gone, reading.after)
        ]


class Reading(NamedTuple):
    """A reading of changes in pages: those after version `since`, up to the version that there was at its beginning.

    `gone` and `after` say which change the last page ended with.
    """

    since: int
    until: int
    gone: bool = False
    after: int = 0


def begin(log: ChangeLog, token: str | None, lifetime: float) -> Reading:
    """A new reading: of everything, or of what changed since a delta token. Refuses (400) a bad or expired token."""
    if token is None:
        return Reading(0, log.version)
    version, _, given = token.partition("!")
    try:
        since, age = int(version), datetime.now(UTC) - datetime.strptime(given, _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise _unknown("$deltatoken", "@odata.deltaLink") from None
    if not 0 < since <= log.version:
        raise _unknown("$deltatoken", "@odata.deltaLink")
    if age.total_seconds() >= lifetime:
        raise errors.error(
            400,
            errors.EXPIRED_VERSION_STAMP,
            "Version stamp associated with the client has expired. Please perform a full sync.",
        )
    return Reading(since, log.version)


def page(log: ChangeLog, reading: Reading, size: int) -> tuple[list[Change], Reading | None]:
    """The next changes, at most `size`, and what is left to read after them."""
    left = log.between(reading)
    changes = list(islice(left, size))
    if len(left) <= size:
        return changes, None
    return changes, reading._replace(gone=changes[-1].gone, after=changes[-1].version)


def delta_token(reading: Reading) -> str:
    """Asks for what changed after the reading began."""
    return f"{reading.until}!{datetime.now(UTC).strftime(_TIME)}"


def pack(reading: Reading) -> str:
    """The `$skiptoken` of a reading."""
    return base64.urlsafe_b64encode(json.dumps(reading).encode()).decode()


def unpack(token: str) -> Reading:
    """The opposite of `pack`; refuses (400) what it did not make."""
    try:
        since, until, gone, after = json.loads(base64.urlsafe_b64decode(token))
        return Reading(int(since), int(until), bool(gone), int(after))
    except (binascii.Error, ValueError, TypeError):
        raise _unknown("$skiptoken", "@odata.nextLink") from None


def _unknown(option: str, link: str) -> Exception:
    return errors.bad_query(f"The {option} was not made by this server: follow {link} unmodified.")


def deleted(context: str, change: Change) -> dict[str, Any]:
    """A deleted row as it stands among the changed ones."""
    return {"@odata.context": f"{context}/$deletedEntity", "id": change.row_id, "reason": "deleted"}
