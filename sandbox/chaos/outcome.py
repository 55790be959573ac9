"""What the journal tells of a run, beyond the demo's comparison. Pure functions."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sandbox.admin_client import Call, Effect
from sandbox.demo.model import Episode

type Triple = tuple[str, str, str]


def handover_times(episodes: Iterable[Episode], effects: Sequence[Effect]) -> list[float]:
    """How long hand-overs took, sorted: seconds from the answer to the new owner's post to the new pair being held.

    A hand-over is counted where somebody else was the last to hold the token. Left out: what was no longer wanted when
    it would have been held, and what no post began (a record that was merged). `since` of the episodes is the answer.
    """
    by_token: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        if effect.token is not None and effect.held:
            by_token[effect.token].append(effect)
    times = [_time(episode, by_token[episode.pair[1]]) for episode in episodes if episode.posted]
    return sorted(time for time in times if time is not None)


def _time(episode: Episode, held: Sequence[Effect]) -> float | None:
    user = episode.pair[0]
    owner = None
    for effect in held:
        if episode.until is not None and effect.at > episode.until:
            return None
        if effect.user_id == user and effect.at >= episode.since:
            return effect.at - episode.since if owner not in (None, user) else None
        owner = effect.user_id
    return None


def races(calls: Iterable[Call], effects: Iterable[Effect]) -> list[str]:
    """The tokens of triples for which a registration and a cleanup were in the air together: both accepted, and
    neither in effect yet."""
    arrived = {call.seq: call.at for call in calls}
    spans: defaultdict[Triple, list[tuple[float, float, str]]] = defaultdict(list)
    for effect in effects:
        if effect.token is not None:
            triple = (effect.mobile_app_id, effect.user_id, effect.token)
            spans[triple].append((arrived.get(effect.call_seq, effect.at), effect.at, effect.kind))
    return [triple[2] for triple, found in spans.items() if _overlap(sorted(found))]


def _overlap(spans: Sequence[tuple[float, float, str]]) -> bool:
    ends: dict[str, float] = {}
    for began, ended, kind in spans:
        if any(end > began for other, end in ends.items() if other != kind):
            return True
        ends[kind] = max(ended, ends.get(kind, ended))
    return False
