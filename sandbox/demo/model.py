"""What must be, from what the phones did: the demo's own model, which shares no line with tokenhub.

Every change is told to it once tokenhub has acknowledged it. Times are seconds since the epoch.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sandbox.demo.people import MAPPED, Directory

type Pair = tuple[str, str]  # (Dataverse id, token)


@dataclass(slots=True)
class User:
    """What tokenhub was told of a user; consents are given unless it was told otherwise."""

    email: str | None = None
    phone: str | None = None
    push_consent: bool = True
    tracking_consent: bool = True


@dataclass(slots=True)
class Device:
    """An installation as it stands."""

    token: str
    user_id: str | None
    retired: bool = False
    deleted: bool = False


@dataclass(slots=True)
class Episode:
    """A time during which a pair was wanted; `until` None: it still is. `posted`: a phone's post began it."""

    pair: Pair
    since: float
    until: float | None = None
    posted: bool = True


class Model:
    """`dead_tokens` are those that CI-J's test message fails for."""

    def __init__(self, directory: Directory, dead_tokens: set[str]) -> None:
        self._directory = directory
        self._dead = dead_tokens
        self.users: dict[str, User] = {}
        self.devices: dict[str, Device] = {}
        self.episodes: list[Episode] = []
        self._open: dict[Pair, Episode] = {}
        self._pairs: dict[str, Pair | None] = {}
        self._wanted_by: Counter[Pair] = Counter()
        # Tracking id to the token that the event must be relayed with.
        self.events: dict[str, str] = {}
        self.event_times: dict[str, float] = {}
        self.events_reported = 0

    def launch(self, installation: str, token: str, at: float, *, user: dict[str, Any] | None, keep: bool) -> None:
        """A launch post at `at`, acknowledged. `user` is what was posted; `keep`: a mobile key, which names nobody.

        Another installation with the token is retired: it is this one's now.
        """
        before = self.devices.get(installation)
        touched = {installation}
        for name, device in self.devices.items():
            if device.token == token and name != installation and not device.retired:
                device.retired = True
                touched.add(name)
        user_id = before.user_id if keep and before else None
        if user is not None:
            user_id = str(user["id"])
            known = self.users.setdefault(user_id, User())
            for name in user.keys() - {"id"}:
                setattr(known, name, user[name])
            touched |= {name for name, device in self.devices.items() if device.user_id == user_id}
        self.devices[installation] = Device(token, user_id)
        self._refresh(touched, at)

    def sign_out(self, installation: str, at: float) -> None:
        """Nobody is signed in any more."""
        self.devices[installation].user_id = None
        self._refresh({installation}, at)

    def delete(self, installation: str, at: float) -> None:
        """The installation was deleted."""
        device = self.devices[installation]
        device.retired = device.deleted = True
        self._refresh({installation}, at)

    def look_again(self, at: float) -> None:
        """Dataverse's records have changed."""
        self._refresh(set(self.devices), at, posted=False)

    def event(self, installation: str, tracking_id: str | None) -> None:
        """An opened notification is reported: relayed, unless a test send or without consent to tracking."""
        device = self.devices[installation]
        consents = device.user_id is None or self.users[device.user_id].tracking_consent
        self.events_reported += 1
        if tracking_id is not None and consents:
            self.events[tracking_id] = device.token

    def event_accepted(self, tracking_id: str | None, at: float) -> None:
        """The report was answered at `at`: from now on tokenhub is bound to it."""
        if tracking_id in self.events:
            self.event_times[tracking_id] = at

    def held(self) -> set[Pair]:
        """The pairs that CI-J must hold in the end."""
        return {pair for pair in self._open if pair[1] not in self._dead}

    def state(self, installation: str) -> str:
        """What `GET devices/{installation}` must say in the end; "deleted": that there is none."""
        device = self.devices[installation]
        if device.deleted:
            return "deleted"
        if device.retired:
            return "retired"
        if device.user_id is None:
            return "no_user"
        user = self.users[device.user_id]
        if not user.push_consent:
            return "opted_out"
        found = self._directory.find(user.email, user.phone).state
        if found != MAPPED:
            return found
        return "failed" if device.token in self._dead else "registered"

    def pair(self, installation: str) -> Pair | None:
        """What the installation wants to be registered as, if anything."""
        device = self.devices[installation]
        if device.retired or device.user_id is None:
            return None
        user = self.users[device.user_id]
        record_id = self._directory.find(user.email, user.phone).record_id
        return (record_id, device.token) if record_id and user.push_consent else None

    def _refresh(self, installations: set[str], at: float, *, posted: bool = True) -> None:
        """Bring the wanted pairs up to date with what has changed of these installations."""
        changed: set[Pair] = set()
        for installation in installations:
            old, new = self._pairs.get(installation), self.pair(installation)
            self._pairs[installation] = new
            for pair, step in ((old, -1), (new, 1)):
                if pair:
                    self._wanted_by[pair] += step
                    changed.add(pair)
        for pair in changed:
            if self._wanted_by[pair] and pair not in self._open:
                self._open[pair] = Episode(pair, at, posted=posted)
                self.episodes.append(self._open[pair])
            elif not self._wanted_by[pair] and pair in self._open:
                self._open.pop(pair).until = at
