"""Everything the sandbox knows, in one place, and how it is written down and read again."""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from sandbox.cij.processing import Processing
from sandbox.dataverse.changes import ChangeLog
from sandbox.dataverse.tables import Table, new_tables
from sandbox.faults import Faults
from sandbox.journal import Journal
from sandbox.player import Player
from sandbox.settings import Settings


class App(NamedTuple):
    """A mobile app configured in CI-J, with the organisation it belongs to (ids in lower case) and its ApiToken."""

    org_id: str
    mobile_app_id: str
    api_token: str


@dataclass
class Memory:
    """The state of the three services, the fault rules, and the journal. One thread (the event loop's) uses it."""

    settings: Settings = field(default_factory=Settings)
    apps: dict[str, App] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=new_tables)
    journal: Journal = field(default_factory=Journal)
    faults: Faults = field(default_factory=Faults)
    player: Player = field(default_factory=Player)
    # Access tokens of an older generation are refused: raising it revokes all that were given out.
    token_generation: int = 0
    # The public keys (JWKS) of whoever signs users in; the private ones stay with the test or the demo.
    # None: Entra ID's own, of the people who sign in, are told.
    signing_keys: dict[str, Any] | None = None
    cij: Processing = field(init=False)

    def __post_init__(self) -> None:
        self.cij = Processing(self.journal)

    def reset(self) -> None:
        """Forget everything but the generation of the access tokens, which clients still hold and may go on using."""
        vars(self).update(vars(Memory(token_generation=self.token_generation)))

    def put_app(self, org_id: str, mobile_app_id: str, api_token: str) -> None:
        """Configure an app, or replace its organisation and ApiToken."""
        self.apps[mobile_app_id.lower()] = App(org_id.lower(), mobile_app_id.lower(), api_token)

    def dump(self) -> dict[str, Any]:
        """What the snapshot holds: all but the fault rules and the script, which belong to the test that made them."""
        return {
            "settings": self.settings.as_json(),
            "apps": [list(app) for app in self.apps.values()],
            "tables": {name: list(table.rows.values()) for name, table in self.tables.items()},
            "changes": {name: asdict(table.log) for name, table in self.tables.items()},
            "journal": self.journal.dump(),
            "token_generation": self.token_generation,
            "signing_keys": self.signing_keys,
            "cij": self.cij.dump(),
        }

    def load(self, data: dict[str, Any]) -> None:
        """The opposite of `dump`, into a fresh memory; TypeError, KeyError or ValueError where the data is damaged."""
        self.settings = Settings().changed(data["settings"])
        for org_id, mobile_app_id, api_token in data["apps"]:
            self.put_app(org_id, mobile_app_id, api_token)
        for name, rows in data["tables"].items():
            self.tables[name].put(rows)
        for name, log in data.get("changes", {}).items():
            self.tables[name].log = ChangeLog(**log)
        self.journal.load(data["journal"])
        self.token_generation = int(data["token_generation"])
        self.signing_keys = data.get("signing_keys")
        self.cij.load(data["cij"])
