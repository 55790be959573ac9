"""Fault rules: what goes wrong, for which kind of call, how often.

Playing a rule is `front`'s business; this module only keeps the rules and hands out the one that applies.
"""

import itertools
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sandbox.cij.processing import OUTCOMES

DROPS = ("before", "after", "middle")
MALFORMED_BODY = b'{"RegistrationRequestId": "'
# The kind of the rules for what CI-J sends by itself; `*` does not mean it.
CALLBACK = "callback"


@dataclass(frozen=True, slots=True)
class Action:
    """What is done to a call. Steps, in this order, each left out where its field is not set:

    1. `delay` seconds pass.
    2. `drop_connection` = `before`: the connection is cut, the call was never handled.
    3. `status` (with `headers` and `body`): answered so, and not handled, unless `handled` is true: then it *was* acted
       on, and the caller cannot know.
    4. The call is handled; its registrations come to `outcome` (as for `Processing.outcomes`); `malformed` replaces
       the answer's body by broken JSON; `short_array` takes the last element off an answer that is an array.
    5. `answer_delay` seconds pass.
    6. `drop_connection` = `after` cuts the connection without a byte of the answer, `middle` after half of it.

    `poison` makes the rule stick to one item: the last of the first call that it applies to. Every call that names its
    token is then answered with `status`, or 400.

    A rule for the kind `callback` is about what CI-J posts by itself, and has other steps: `delay` seconds pass; with
    any `drop_connection` nothing is posted, and the callback is lost; `forged` has a stranger post the opposite
    outcome, badly signed, before the true one; the true one is posted `copies` times.
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
    outcome: str | None = None
    poison: bool = False
    forged: bool = False
    copies: int = 1

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Action":
        """From a JSON object with these field names; ValueError where one is unknown or bad."""
        if unknown := set(data) - {f.name for f in fields(cls)}:
            raise ValueError(f"unknown in an action: {', '.join(sorted(unknown))}")
        action = cls(**data)
        if action.drop_connection not in (None, *DROPS):
            raise ValueError(f"drop_connection is one of {', '.join(DROPS)}")
        if action.outcome not in (None, *OUTCOMES):
            raise ValueError(f"an outcome is one of {', '.join(OUTCOMES)}")
        return action


@dataclass(slots=True)
class Rule:
    """Applies to calls of `kind` (`*`: any) that name `app` and `token` (None: any), `times` times (None: until taken
    away)."""

    name: str
    kind: str
    action: Action
    times: int | None = 1
    app: str | None = None
    used: int = 0
    token: str | None = None

    def applies(self, kind: str, app: str | None, tokens: Collection[str | None] = ()) -> bool:
        """Whether the rule is for such a call and not used up."""
        if self.times is not None and self.used >= self.times:
            return False
        if self.kind != kind and (self.kind != "*" or kind == CALLBACK):
            return False
        if self.app not in (None, app) or (self.action.poison and not tokens):
            return False
        return self.token is None or self.token in tokens


class Faults:
    """The rules in force; the oldest that applies wins."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._numbers = itertools.count(1)

    def add(
        self, kind: str, action: Action, *, times: int | None = 1, app: str | None = None, token: str | None = None
    ) -> Rule:
        """Put a rule in force and return it, with the name that it has in the journal."""
        name = f"fault-{next(self._numbers)}"
        rule = Rule(name, kind, action, times, app.lower() if app else None, token=token)
        self.rules.append(rule)
        return rule

    def take(self, kind: str, app: str | None, tokens: Collection[str | None] = ()) -> Rule | None:
        """The rule for this call, counted as used once more; None where nothing goes wrong."""
        for rule in self.rules:
            if rule.applies(kind, app, tokens):
                if rule.action.poison and rule.token is None:
                    rule.token = list(tokens)[-1]
                rule.used += 1
                return rule
        return None

    def remove(self, name: str) -> bool:
        """Take one rule away; False where there is none of that name."""
        before = len(self.rules)
        self.rules = [rule for rule in self.rules if rule.name != name]
        return len(self.rules) < before

    def clear(self) -> None:
        """Take all rules away."""
        self.rules.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """The rules, with how often each was used."""
        return [asdict(rule) for rule in self.rules]
