"""Files in the data folder: private, and whole or not there at all."""

import json
import os
from pathlib import Path
from typing import Any


class DamagedError(Exception):
    """A file in the data folder cannot be understood; the message says which, and what to do."""


def write_private(path: Path, text: str) -> None:
    """Put `text` at `path` with mode 0600, replacing what was there in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_snapshot(path: Path) -> dict[str, Any] | None:
    """The snapshot's content, None where there is none yet; DamagedError where it is not JSON of version 1."""
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise damaged_snapshot(path, error) from error
    if not isinstance(data, dict) or data.get("version") != 1:
        raise damaged_snapshot(path, "not a snapshot of version 1")
    return data


def damaged_snapshot(path: Path, why: object) -> DamagedError:
    """The error that says what to do about a damaged snapshot."""
    return DamagedError(
        f"{path} is damaged ({why}). Restore it, or move it away to start with an empty CI-J and Dataverse."
    )


def write_snapshot(path: Path, data: dict[str, Any]) -> None:
    """Write the memory down."""
    write_private(path, json.dumps({"version": 1, **data}, separators=(",", ":")))
