"""The stand-in for Microsoft's side next to the stack, and the demo app that points at it.

<data>/sandbox/            the stand-in's own data
<data>/demo.seed.json      what the seed made, kept: the keys of the demo app survive restarts
<data>/demo.json           the same, there only while the web server answers
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenhub.embedded import state
from tokenhub.embedded.processes import guarded
from tokenhub.embedded.state import StackError


@dataclass(frozen=True)
class Demo:
    """The sandbox of one data folder, and what was seeded for it."""

    data: Path
    port: int

    @property
    def description(self) -> Path:
        """Where the sandbox says what it is, once it is ready."""
        return self.data / "sandbox" / "sandbox.json"

    @property
    def seed(self) -> Path:
        """Where the seed keeps what it made."""
        return self.data / "demo.seed.json"

    def argv(self) -> list[str]:
        """The command that runs the sandbox. Forgets the description that an earlier one left."""
        self.description.parent.mkdir(mode=0o700, exist_ok=True)
        self.description.unlink(missing_ok=True)
        return guarded(
            [sys.executable, "-m", "sandbox", "--data", str(self.description.parent), "--port", str(self.port)]
        )

    def ready(self) -> bool:
        """Whether the sandbox has described itself."""
        return self.description.exists()

    def environment(self) -> dict[str, str]:
        """What makes tokenhub trust the sandbox as it trusts Microsoft: its CA and its host, and nothing else."""
        return {
            "SSL_CERT_FILE": str(_read(self.description)["ca_file"]),
            "TOKENHUB_CIJ_HOST_SUFFIXES": "localhost",
            "TOKENHUB_DATAVERSE_HOST_SUFFIXES": "localhost",
            "TOKENHUB_ENTRA_HOSTS": "localhost",
        }

    def admin_password(self) -> str | None:
        """The password of the seeded admin; None before the first seed."""
        return str(_read(self.seed)["admin"]["password"]) if self.seed.exists() else None

    def publish(self) -> None:
        """Tell whoever waits for it that the demo app can be used."""
        state.write_private(self.data / "demo.json", _read(self.seed))

    def withdraw(self) -> None:
        """The demo app cannot be used, or not yet."""
        (self.data / "demo.json").unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StackError(f"{path} cannot be read: {error}") from error
    return content
