"""Fault scripts: what goes wrong at which second. `make` is a pure function, so the same seed is the same script.

`player` plays a script; the admin path's `POST /_sandbox/script` takes one, or the seed of one.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sandbox.faults import CALLBACK, Action

EVERY = 1.2  # seconds from one fault to the next, on average
LASTS = 10.0  # seconds after which a rule that was not used up is taken away
SEND = ("register_batch", "register_batch", "status", "cleanup", "cleanup_batch")
CALLS = (*SEND, "event", "query", "token")


@dataclass(frozen=True, slots=True)
class Step:
    """At `at` seconds from the script's start a rule comes into force (where `kind` is set, with the rule's `action`,
    `times` and `token`), `settings` change, and all access tokens are revoked (where `revoke` is true).

    After `lasts` seconds (None: at the script's end) the rule is taken away and the settings are what they were.
    `fault` is the step's name for people.
    """

    at: float
    fault: str
    kind: str | None = None
    action: Action = field(default_factory=Action)
    times: int | None = 1
    token: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    revoke: bool = False
    lasts: float | None = LASTS

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Step":
        """From a JSON object with these field names; ValueError or TypeError where one is unknown, missing or bad."""
        if unknown := set(data) - {f.name for f in fields(cls)}:
            raise ValueError(f"unknown in a step: {', '.join(sorted(unknown))}")
        return cls(**{**data, "action": Action.from_json(data.get("action") or {})})


def make(seed: int, duration: float, deadline: float = 30.0, weights: Mapping[str, float] | None = None) -> list[Step]:
    """The script of this seed over `duration` seconds, in order: each fault of FAULTS once, then what chance brings.

    `deadline`: how long the caller waits for an answer, in seconds. `weights` (default: 1 each) make faults more
    frequent, or with 0 keep them out; ValueError where one is not known.
    """
    given = weights or {}
    if unknown := given.keys() - FAULTS.keys():
        raise ValueError(f"there is no fault {', '.join(sorted(unknown))}")
    rng = random.Random(f"script {seed}")  # noqa: S311 - to be repeatable is what it is for
    wanted = {name: given.get(name, 1.0) for name in FAULTS if given.get(name, 1.0) > 0}
    names = _names(rng, wanted)
    steps: list[Step] = []
    at = rng.uniform(0.0, EVERY)
    while wanted and at < duration:
        name = next(names)
        steps.append(_step(name, at, FAULTS[name](rng, deadline)))
        at += rng.uniform(0.5, 1.5) * EVERY
    return steps


def _names(rng: random.Random, wanted: dict[str, float]) -> Iterator[str]:
    deck = sorted(wanted)
    rng.shuffle(deck)
    yield from deck
    while True:
        yield from rng.choices(deck, [wanted[name] for name in deck])


def _step(name: str, at: float, change: dict[str, Any]) -> Step:
    return Step(**{"at": round(at, 3), "fault": name, **change})


type Fault = Callable[[random.Random, float], dict[str, Any]]


def _rule(kinds: tuple[str, ...], **action: Any) -> Fault:
    return lambda rng, deadline: {"kind": rng.choice(kinds), "action": Action(**action)}


def _too_late(name: str) -> Fault:
    """`name` (`delay` or `answer_delay`) goes beyond the caller's deadline."""
    return lambda rng, deadline: {
        "kind": rng.choice(CALLS),
        "action": Action.from_json({name: round(deadline * rng.uniform(1.05, 1.2), 2)}),
    }


def _wait(kinds: tuple[str, ...], status: int, body: Any = None) -> Fault:
    return lambda rng, deadline: {
        "kind": rng.choice(kinds),
        "action": Action(status=status, headers={"Retry-After": str(rng.randint(1, 3))}, body=body),
        "times": rng.randint(1, 2),
    }


def _slow(rng: random.Random, deadline: float) -> dict[str, Any]:
    return {"kind": rng.choice(CALLS), "action": Action(delay=round(deadline * rng.uniform(0.02, 0.2), 2)), "times": 4}


def _setting(**settings: Any) -> Fault:
    return lambda rng, deadline: {"settings": settings}


def _outcome(outcome: str) -> Fault:
    return _rule(("register_batch",), outcome=outcome)


# webapi's service protection limits: 0x80072322 is "number of requests exceeded".
_LIMIT = {"error": {"code": "0x80072322", "message": "Number of requests exceeded the limit of 6000."}}

FAULTS: dict[str, Fault] = {
    "slow": _slow,
    "timed out, then handled": _too_late("delay"),
    "handled, then timed out": _too_late("answer_delay"),
    "throttled (429)": _wait((*SEND, "event"), 429),
    "throttled (503)": _wait((*SEND, "event"), 503),
    "Dataverse throttled": _wait(("query",), 429, _LIMIT),
    "error 500, not handled": _rule(CALLS, status=500),
    "error 500, but handled": _rule(CALLS, status=500, handled=True),
    "closed before": _rule(CALLS, drop_connection="before"),
    "closed after": _rule(CALLS, drop_connection="after"),
    "closed in the middle": _rule(CALLS, drop_connection="middle"),
    "malformed JSON": _rule(CALLS, malformed=True),
    "short array": _rule(("register_batch", "status"), short_array=True),
    "poison item": lambda rng, deadline: {"kind": "register_batch", "action": Action(poison=True), "times": None},
    "pending for ever": _outcome("Pending"),
    "pending for ever, but held": _outcome("PendingStored"),
    "FailedToStoreDevice": _outcome("FailedToStoreDevice"),
    "ApiTokenNotValid": _outcome("ApiTokenNotValid"),
    "DryRunSendingFailed": _outcome("DryRunSendingFailed"),
    "DeviceTokenTooLong": _outcome("DeviceTokenTooLong"),
    "DuplicateExists": _outcome("DuplicateExists"),
    "reasons as codes": _setting(failure_reason_style="code"),
    "reasons with blanks": _setting(failure_reason_style="blanks"),
    "reasons as sentences": _setting(failure_reason_style="sentence"),
    "callback missing": _rule((CALLBACK,), drop_connection="before"),
    "callback late": lambda rng, deadline: {
        "kind": CALLBACK,
        "action": Action(delay=round(rng.uniform(1, 5), 2)),
        "times": 5,
    },
    "callback doubled": _rule((CALLBACK,), copies=2),
    "callback forged": _rule((CALLBACK,), forged=True),
    "signature in hex": _setting(signature_encoding="hex"),
    "signature in base64": _setting(signature_encoding="base64"),
    "signature in base64url": _setting(signature_encoding="base64url"),
    "batch cleanup refused": _setting(batch_cleanup_supported=False),
    "access tokens expire": _setting(token_lifetime=1),
    "access tokens revoked": lambda rng, deadline: {"revoke": True},
}
