"""A synchronous client of a running sandbox's admin path, for tests, the demo, and the curious."""

import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

PAGE = 10_000


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A device that "CI-J" holds; ids in lower case, platform `ios` or `android`."""

    mobile_app_id: str
    user_id: str
    token: str
    platform: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call to Microsoft's side; `status` None: the connection was dropped before it was handled.

    `items`: (user id, device token) of each registration or cleanup in it, as sent. `at`: seconds since the epoch.
    """

    seq: int
    at: float
    kind: str
    org_id: str | None
    mobile_app_id: str | None
    status: int | None
    items: tuple[tuple[str | None, str | None], ...]
    fault: str | None
    client_request_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """The moment at which an accepted registration (`register`) or cleanup (`cleanup`) took effect.

    `outcome`: `Success`, `Failed` (with its `reason`) or `Pending` of a registration, `Removed` or `NothingThere` of a
    cleanup. `held`: whether the triple is held after it. `call_seq`: the call that asked for it.
    """

    seq: int
    at: float
    kind: str
    mobile_app_id: str
    user_id: str
    token: str | None
    outcome: str
    reason: str | None
    held: bool
    call_seq: int
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """An interaction event that was received."""

    seq: int
    at: float
    org_id: str
    tracking_id: str
    device_token: str
    status: int | str


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback that was tried once; `answer` is the HTTP status or the name of the error.

    `lost`: a fault rule kept it back.
    """

    seq: int
    at: float
    url: str
    body: dict[str, str | None]
    answer: int | str


class SandboxAdmin:
    """Every method raises httpx2.HTTPError where the sandbox cannot be reached, and ValueError where it says no."""

    def __init__(self, url: str, ca_file: str, admin_token: str) -> None:
        self.url = url
        self.ca_file = ca_file
        self._client = httpx2.Client(
            base_url=f"{url}/_sandbox/",
            headers={"Authorization": f"Bearer {admin_token}"},
            verify=ssl.create_default_context(cafile=ca_file),
            timeout=60,
            trust_env=False,
        )

    @classmethod
    def from_file(cls, path: str | Path) -> "SandboxAdmin":
        """For the sandbox that wrote this sandbox.json."""
        data = json.loads(Path(path).read_text())
        return cls(data["url"], data["ca_file"], data["admin_token"])

    def close(self) -> None:
        """Close the connections; also done at the end of a `with` block."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, path: str, data: Any = None, **query: Any) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        answer = self._client.request(method, path, json=data, params=params)
        if answer.status_code != 200:
            raise ValueError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def reset(self) -> None:
        """Forget everything: apps, records, what is held, the journal, settings, outcomes, faults."""
        self._call("POST", "reset")

    def revoke_tokens(self) -> None:
        """All access tokens given out so far are refused (401) from now on."""
        self._call("POST", "revoke-tokens")

    def set_signing_keys(self, jwks: Mapping[str, Any]) -> None:
        """What the sign-in service's JWKS shows from now on."""
        self._call("PUT", "signing-keys", dict(jwks))

    def summary(self) -> dict[str, Any]:
        """Counts of everything, and `now`, `seq`, `waiting` (accepted, not in effect yet)."""
        return dict(self._call("GET", "summary"))

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change the settings named (see `sandbox.settings.Settings`) and return all of them."""
        return dict(self._call("PATCH", "settings", changes) if changes else self._call("GET", "settings"))

    def put_app(self, org_id: str, mobile_app_id: str, api_token: str) -> None:
        """Configure a mobile app in "CI-J", or change its organisation or ApiToken."""
        self._call("PUT", "apps", [{"org_id": org_id, "mobile_app_id": mobile_app_id, "api_token": api_token}])

    def add_records(self, table: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Add rows to `contacts`, `leads` or `msdynci_customerprofiles`; returns their ids, made up where missing."""
        return list(self._call("POST", f"records/{table}", list(map(dict, rows)))["ids"])

    def patch_record(self, table: str, row_id: str, **changes: Any) -> None:
        """Change columns of one row."""
        self._call("PATCH", f"records/{table}/{row_id}", changes)

    def delete_record(self, table: str, row_id: str) -> None:
        """Take one row away."""
        self._call("DELETE", f"records/{table}/{row_id}")

    def held(self, mobile_app_id: str | None = None) -> list[Held]:
        """What "CI-J" holds now, of one app or of all."""
        return [Held(*row) for row in self._call("GET", "held", mobile_app_id=mobile_app_id)]

    def calls(self, kind: str | None = None, after: int = 0) -> list[Call]:
        """The calls after a sequence number. Kinds: register, register_batch, status, cleanup, cleanup_batch, event,
        query, changes, who_am_i, token, discovery."""
        rows = self._pages("calls", kind, after)
        return [Call(*[*row[:6], tuple((user, token) for user, token in row[6]), *row[7:]]) for row in rows]

    def effects(self, kind: str | None = None, after: int = 0) -> list[Effect]:
        """What took effect (kinds: register, cleanup), in order; it shares its sequence with the calls."""
        return [Effect(*row) for row in self._pages("effects", kind, after)]

    def events(self, after: int = 0) -> list[Event]:
        """The interaction events received."""
        return [Event(*row) for row in self._pages("events", None, after)]

    def callbacks(self, after: int = 0) -> list[Callback]:
        """The callbacks tried."""
        return [Callback(*row) for row in self._pages("callbacks", None, after)]

    def _pages(self, name: str, kind: str | None, after: int) -> list[list[Any]]:
        rows: list[list[Any]] = []
        while True:
            page = self._call("GET", name, kind=kind, after=after, limit=PAGE)
            rows += page["rows"]
            if page["last_seq"] is None:
                return rows
            after = page["last_seq"]

    def set_outcomes(self, outcomes: Mapping[str, str | Sequence[str] | None]) -> None:
        """What becomes of registrations, by token: a FailureReason, `Success`, `Pending` (for ever, and not held) or
        `PendingStored` (held, but the status never says so). A list is used up in order, its last element stays. None
        takes the plan away."""
        plain = {
            token: value if value is None or isinstance(value, str) else list(value)
            for token, value in outcomes.items()
        }
        self._call("PUT", "outcomes", plain)

    def add_fault(
        self, kind: str, *, times: int | None = 1, app: str | None = None, token: str | None = None, **action: Any
    ) -> str:
        """Something goes wrong with calls of `kind` (`*`: any) that name `app` and `token`, `times` times (None: until
        cleared). Returns its name.

        The action's fields (see `sandbox.faults.Action`): status, headers, body, handled, delay, answer_delay,
        drop_connection (before, after, middle), malformed, short_array, outcome, poison; for the kind `callback`
        delay, drop_connection, forged, copies.
        """
        rule = {"kind": kind, "times": times, "app": app, "token": token, "action": action}
        return str(self._call("POST", "faults", rule)["name"])

    def remove_fault(self, name: str) -> None:
        """Take one fault rule away."""
        self._call("DELETE", f"faults/{name}")

    def faults(self) -> list[dict[str, Any]]:
        """The rules in force, with how often each was `used`."""
        return list(self._call("GET", "faults"))

    def clear_faults(self) -> None:
        """Take all fault rules away."""
        self._call("DELETE", "faults")

    def run_script(
        self,
        steps: Sequence[Mapping[str, Any]] | None = None,
        *,
        seed: int = 0,
        duration: float = 60.0,
        deadline: float = 30.0,
        weights: Mapping[str, float] | None = None,
    ) -> list[dict[str, Any]]:
        """Have the sandbox play a fault script from now on, instead of the one before: these steps, or those that
        `sandbox.script.make` makes of the seed. Returns the steps."""
        made = {"seed": seed, "duration": duration, "deadline": deadline, "weights": weights}
        return list(self._call("POST", "script", made if steps is None else {"steps": list(map(dict, steps))}))

    def script(self) -> dict[str, Any]:
        """How far the script is: `played` (counts by fault), `in_force` and `waiting` (how many steps)."""
        return dict(self._call("GET", "script"))

    def stop_script(self) -> None:
        """End the script: its rules are taken away, its settings are what they were."""
        self._call("DELETE", "script")

    def wait_until_idle(self, timeout: float = 10.0) -> None:
        """Wait until all that was accepted has taken effect; TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.summary()["waiting"]:
            if time.monotonic() > deadline:
                raise TimeoutError("the sandbox still has work waiting")
            time.sleep(0.05)
