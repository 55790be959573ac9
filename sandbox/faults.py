"""Fault rules: what goes wrong, for which kind of call, how often.

Playing a rule is `front`'s business; this module only keeps the rules and hands out the one that applies.
"""

import itertools
from dataclasses import asdict, dataclass, field, fields
from typing import Any

DROPS = ("before", "after", "middle")
MALFORMED_BODY = b'{"RegistrationRequestId": "'


@dataclass(frozen=True, slots=True)
class Action:
    """What is done to a call. Steps, in this order, each left out where its field is not set:

    1. `delay` seconds pass.
    2. `drop_connection` = `before`: the connection is cut, the call was never handled.
    3. `status` (with `headers` and `body`): answered so, and not handled, unless `handled` is true: then it *was* acted
       on, and the caller cannot know.
    4. The call is handled; `malformed` replaces the answer's body by broken JSON; `short_array` takes the last element
       off an answer that is an array.
    5. `answer_delay` seconds pass.
    6. `drop_connection` = `after` cuts the connection without a byte of the answer, `middle` after half of it.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    handled: bool = False
    delay: float = 0.0
    answer_delay: float = 0.0
    drop_connection: str | None = None
    malformed: bool = False
    short_array: bool = False

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Action":
        """From a JSON object with these field names; ValueError where one is unknown or bad."""
        if unknown := set(data) - {f.name for f in fields(cls)}:
            raise ValueError(f"unknown in an action: {', '.join(sorted(unknown))}")
        action = cls(**data)
        if action.drop_connection not in (None, *DROPS):
            raise ValueError(f"drop_connection is one of {', '.join(DROPS)}")
        return action


@dataclass(slots=True)
class Rule:
    """Applies to calls of `kind` (`*`: any) that name `app` (None: any), `times` times (None: until taken away)."""

    name: str
    kind: str
    action: Action
    times: int | None = 1
    app: str | None = None
    used: int = 0

    def applies(self, kind: str, app: str | None) -> bool:
        """Whether the rule is for such a call and not used up."""
        if self.times is not None and self.used >= self.times:
            return False
        return self.kind in ("*", kind) and self.app in (None, app)


class Faults:
    """The rules in force; the oldest that applies wins."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._numbers = itertools.count(1)

    def add(self, kind: str, action: Action, *, times: int | None = 1, app: str | None = None) -> Rule:
        """Put a rule in force and return it, with the name that it has in the journal."""
        rule = Rule(f"fault-{next(self._numbers)}", kind, action, times, app.lower() if app else None)
        self.rules.append(rule)
        return rule

    def take(self, kind: str, app: str | None) -> Rule | None:
        """The rule for this call, counted as used once more; None where nothing goes wrong."""
        for rule in self.rules:
            if rule.applies(kind, app):
                rule.used += 1
                return rule
        return None

    def clear(self) -> None:
        """Take all rules away."""
        self.rules.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """The rules, with how often each was used."""
        return [asdict(rule) for rule in self.rules]
