"""What is, against what must be; and what the sandbox's journal tells of the way there. Pure functions."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.admin_client import Effect, Event
from sandbox.demo.model import Episode, Pair


@dataclass(frozen=True)
class Comparison:
    """The differences. `states`: installation to (expected, found); None where a state was not asked for yet."""

    expected: int
    held: int
    missing: set[Pair]
    ghosts: set[Pair]
    events_expected: int
    events_relayed: int
    events_missing: set[str]
    events_foreign: set[str]
    events_doubled: int
    states: Mapping[str, tuple[str, str]] | None

    @property
    def distance(self) -> int:
        """How many things differ; states that were not asked for count for nothing."""
        wrong = self.missing, self.ghosts, self.events_missing, self.events_foreign, self.states or ()
        return sum(map(len, wrong))

    @property
    def agrees(self) -> bool:
        """Whether everything agrees, states included. A doubled event does not count: relaying is at-least-once."""
        return self.states is not None and self.distance == 0


def compare(
    expected: set[Pair],
    held: set[Pair],
    events: Mapping[str, str],
    received: Sequence[Event],
    states: Mapping[str, tuple[str, str]] | None,
) -> Comparison:
    """`events`: expected tracking id to token. An event with another token than expected is missing *and* foreign."""
    relayed = Counter((event.tracking_id, event.device_token) for event in received)
    wanted = set(events.items())
    return Comparison(
        expected=len(expected),
        held=len(held),
        missing=expected - held,
        ghosts=held - expected,
        events_expected=len(events),
        events_relayed=len(relayed),
        events_missing={tracking_id for tracking_id, _ in wanted - relayed.keys()},
        events_foreign={tracking_id for tracking_id, _ in relayed.keys() - wanted},
        events_doubled=sum(count - 1 for count in relayed.values()),
        states={name: pair for name, pair in states.items() if pair[0] != pair[1]} if states is not None else None,
    )


@dataclass
class Handovers:
    """`count`: how often a token went from one owner to another; `violations`: tokens that two owners held at once."""

    count: int = 0
    violations: list[str] = field(default_factory=list)


def handovers(effects: Iterable[Effect]) -> Handovers:
    """Replay what took effect: the old owner's pair must be gone before the new owner's is registered."""
    found = Handovers()
    owners: defaultdict[str, set[str]] = defaultdict(set)
    last: dict[str, str] = {}
    for effect in effects:
        token = effect.token
        if token is None:
            continue
        if effect.kind == "cleanup":
            owners[token].discard(effect.user_id)
        elif effect.held:
            if owners[token] - {effect.user_id}:
                found.violations.append(token)
            owners[token].add(effect.user_id)
            if last.get(token, effect.user_id) != effect.user_id:
                found.count += 1
            last[token] = effect.user_id
    return found


def registration_times(episodes: Iterable[Episode], effects: Iterable[Effect]) -> list[float]:
    """Seconds from the post that made a pair wanted to the moment at which CI-J held it, sorted.

    Left out: what was no longer wanted by then, and what CI-J still held from an earlier time.
    """
    moments: defaultdict[Pair, list[float]] = defaultdict(list)
    for effect in effects:
        if effect.kind == "register" and effect.outcome == "Success" and effect.token is not None:
            moments[effect.user_id, effect.token].append(effect.at)
    times = []
    for episode in episodes:
        end = episode.until if episode.until is not None else float("inf")
        first = next((at for at in moments[episode.pair] if episode.since <= at <= end), None)
        if first is not None:
            times.append(first - episode.since)
    return sorted(times)


def relay_times(accepted: Mapping[str, float], received: Iterable[Event]) -> list[float]:
    """Seconds from the answer that accepted an event (by tracking id) until CI-J first had it, sorted; 0 where CI-J
    had it sooner."""
    first: dict[str, float] = {}
    for event in received:
        first[event.tracking_id] = min(event.at, first.get(event.tracking_id, event.at))
    return sorted(max(0.0, first[name] - at) for name, at in accepted.items() if name in first)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the sorted values lie; 0 of none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0
