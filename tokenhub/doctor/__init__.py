"""`manage.py doctor`: looks at everything that tokenhub needs, says what is wrong, and how to mend it.

A check gives findings and raises nothing that an ill installation can cause. It prints no secret: what others say of an
error is passed on without credentials.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from tokenhub.version import VERSION


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, and should be looked at
    ERROR = "error"  # something does not work


@dataclass(frozen=True)
class Finding:
    """What was seen of a part, and what to do about it."""

    part: str
    level: Level
    says: str
    mend: str = ""


def as_json(findings: Sequence[Finding], *, ok: bool) -> str:
    """For scripts."""
    return json.dumps({"ok": ok, "version": VERSION, "findings": [asdict(finding) for finding in findings]})


type Check = Callable[[], Iterator[Finding]]


def examine() -> list[Finding]:
    """Everything there is to say, part by part."""
    from tokenhub.doctor import configuration, microsoft, stores, work

    found = [*stores.database()]
    with_database = all(finding.level is not Level.ERROR for finding in found)
    found += stores.broker()
    found += configuration.settings_(with_database=with_database)
    if not with_database:
        return found
    schema = [*stores.migrations()]
    found += schema
    if any(finding.level is Level.ERROR for finding in schema):
        return found  # the other checks would fall over it
    checks: Sequence[Check] = (configuration.keys, stores.clocks, microsoft.everything, work.living, work.alerts)
    for check in checks:
        found += check()
    return found
