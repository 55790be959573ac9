"""What CI-J has accepted, and works off later: the heap of due work, and the set of devices it holds.

Work is taken off the heap when its time has come and somebody looks (a call, or the ticker): a million waiting rows
cost a heap entry each and no task. Whoever looks calls `work_off` first, so that looking late changes nothing but the
moment of the look: effects carry the time at which they were due.
"""

import heapq
from collections import defaultdict, deque
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sandbox.cij.validation import STORED_TOKEN_LENGTH
from sandbox.journal import Effect, Journal

PENDING, PENDING_STORED, SUCCESS = "Pending", "PendingStored", "Success"
REASONS = ("DuplicateExists", "DryRunSendingFailed", "DeviceTokenTooLong", "FailedToStoreDevice", "ApiTokenNotValid")
OUTCOMES = (SUCCESS, PENDING, PENDING_STORED, *REASONS)


class Triple(NamedTuple):
    """What CI-J tells devices apart by; the ids in lower case."""

    mobile_app_id: str
    user_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was accepted: a registration (`platform` set), or a cleanup (not set; no `token`: all the user's)."""

    mobile_app_id: str
    user_id: str
    token: str | None
    platform: str | None
    call_seq: int
    request_id: str | None = None
    forced: str | None = None
    callback_url: str | None = None
    callback_headers: dict[str, str] | None = None
    # The key of the callback's signature. It is written to the snapshot and nowhere else.
    api_token: str | None = None


class Decision(NamedTuple):
    """The outcome of a registration: Success, or Failed with a reason."""

    status: str
    reason: str | None


class Processing:
    """The held set with its platforms, the tracked requests' outcomes, waiting work, callbacks yet to be sent."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.held: dict[Triple, str] = {}
        self._tokens_of: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.decided: dict[str, Decision] = {}
        # What tests want to happen to a token: outcomes to be used up in order, the last one for ever.
        self.outcomes: dict[str, list[str]] = {}
        self.callbacks: deque[tuple[Wanted, Decision]] = deque()
        self._heap: list[tuple[float, int, Wanted]] = []
        self._number = 0

    @property
    def waiting(self) -> int:
        """How much was accepted and has not taken effect yet."""
        return len(self._heap)

    @property
    def next_due(self) -> float | None:
        """When the next piece of work is due (seconds since the epoch)."""
        return self._heap[0][0] if self._heap else None

    def accept(self, work: Wanted, due: float) -> None:
        """Take in work that takes effect at `due` (seconds since the epoch)."""
        self._number += 1
        heapq.heappush(self._heap, (due, self._number, work))

    def work_off(self, now: float) -> None:
        """Do all that is due by `now`, in the order in which it was due."""
        while self._heap and self._heap[0][0] <= now:
            due, _, work = heapq.heappop(self._heap)
            if work.platform is None:
                self._clean_up(work, due)
            else:
                self._register(work, work.platform, due)

    def _register(self, work: Wanted, platform: str, due: float) -> None:
        assert work.token is not None  # noqa: S101 - a registration always has one; this tells the type checker
        triple = Triple(work.mobile_app_id, work.user_id, work.token)
        outcome = self._outcome(triple, work.forced)
        if outcome in (SUCCESS, PENDING_STORED):
            self.held[triple] = platform
            self._tokens_of[triple[:2]].add(triple.token)
        if outcome not in (PENDING, PENDING_STORED):
            failed = outcome != SUCCESS
            decision = Decision("Failed", outcome) if failed else Decision(SUCCESS, None)
            if work.request_id:
                self.decided[work.request_id] = decision
            if work.callback_url:
                self.callbacks.append((work, decision))
        status = {SUCCESS: SUCCESS, PENDING: PENDING, PENDING_STORED: PENDING}.get(outcome, "Failed")
        self._note("register", work, due, status, outcome if status == "Failed" else None, triple.token)

    def _outcome(self, triple: Triple, forced: str | None) -> str:
        planned = self.outcomes.get(triple.token)
        if forced or planned:
            outcome = forced or _use_up(planned or [])
            if outcome != SUCCESS:
                return outcome
        if len(triple.token) > STORED_TOKEN_LENGTH:
            return "DeviceTokenTooLong"
        return "DuplicateExists" if triple in self.held else SUCCESS

    def _clean_up(self, work: Wanted, due: float) -> None:
        owner = (work.mobile_app_id, work.user_id)
        tokens = sorted(self._tokens_of.get(owner, ())) if work.token is None else [work.token]
        for token in tokens:
            removed = self.held.pop(Triple(*owner, token), None) is not None
            self._tokens_of[owner].discard(token)
            self._note("cleanup", work, due, "Removed" if removed else "NothingThere", None, token)
        if not tokens:
            self._note("cleanup", work, due, "NothingThere", None, None)

    def _note(self, kind: str, work: Wanted, at: float, outcome: str, reason: str | None, token: str | None) -> None:
        held = token is not None and Triple(work.mobile_app_id, work.user_id, token) in self.held
        self._journal.effects.append(
            Effect(
                self._journal.next(), at, kind, work.mobile_app_id, work.user_id, token, outcome, reason, held,
                work.call_seq, work.request_id,
            )
        )  # fmt: skip

    def dump(self) -> dict[str, Any]:
        """All but the callbacks, which are lost with the process, as Microsoft's may be."""
        return {
            "held": [[*triple, platform] for triple, platform in self.held.items()],
            "decided": {key: list(decision) for key, decision in self.decided.items()},
            "outcomes": self.outcomes,
            "waiting": [[due, asdict(work)] for due, _, work in sorted(self._heap, key=lambda entry: entry[:2])],
        }

    def load(self, data: dict[str, Any]) -> None:
        """The opposite of `dump`."""
        for mobile_app_id, user_id, token, platform in data["held"]:
            self.held[Triple(mobile_app_id, user_id, token)] = platform
            self._tokens_of[mobile_app_id, user_id].add(token)
        self.decided = {key: Decision(*value) for key, value in data["decided"].items()}
        self.outcomes = dict(data["outcomes"])
        for due, work in data["waiting"]:
            self.accept(Wanted(**work), float(due))


def _use_up(planned: list[str]) -> str:
    return planned.pop(0) if len(planned) > 1 else planned[0]
