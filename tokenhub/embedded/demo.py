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

    @property
    def description(self) -> Path:
        """Where the sandbox says what it is, once it is ready."""
        return self.data / "sandbox" / "sandbox.json"

    @property
    def seed(self) -> Path:
        """Where the seed keeps what it made."""
        return self.data / "demo.seed.json"

    def argv(self) -> list[str]:
        """The command that runs the sandbox. It remembers its port by itself."""
        return guarded([sys.executable, "-m", "sandbox", "--data", str(self.description.parent), "--port", "0"])

    def ready(self, pid: int) -> bool:
        """Whether the sandbox of that process has described itself; one that was killed leaves its description."""
        return self.description.exists() and _read(self.description).get("pid") == pid

    def environment(self) -> dict[str, str]:
        """What makes tokenhub trust the sandbox as it trusts Microsoft: its CA and its host, and nothing else."""
        return {
            "SSL_CERT_FILE": str(_read(self.description)["ca_file"]),
            "TOKENHUB_CIJ_HOST_SUFFIXES": "localhost",
            "TOKENHUB_DATAVERSE_HOST_SUFFIXES": "localhost",
        }

    def admin_password(self) -> str | None:
        """The password of the admin that the seed made; None if it made none yet."""
        password: str | None = _read(self.seed)["admin"]["password"] if self.seed.exists() else None
        return password

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
