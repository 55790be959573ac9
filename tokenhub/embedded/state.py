"""What the embedded stack leaves in its data folder: secrets, a lock, and where the running servers are.

Settings import this module, so it uses the standard library alone.

    <data>/secrets.json   made once; keep it with the database, whose encrypted fields need it
    <data>/up.lock        locked for as long as `manage.py up` lives, however it dies
    <data>/running.json   where the servers of that `up` are; means nothing unless the lock is held

    StackError
     └ AlreadyRunning
"""

import base64
import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


class StackError(Exception):
    """The embedded stack cannot do what was asked. The message is meant for the person at the terminal."""


class AlreadyRunning(StackError):
    """Another `up` holds this data folder."""


@dataclass(frozen=True)
class Secrets:
    """What is made at random when a data folder is first used. None of it contains a character that needs quoting."""

    secret_key: str = field(repr=False)
    encryption_key: str = field(repr=False)
    postgres_password: str = field(repr=False)
    valkey_password: str = field(repr=False)


@dataclass(frozen=True)
class Running:
    """Where the servers of a living `up` are, and in `environment` what it adds to its children's environment."""

    pid: int
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    web_url: str
    environment: dict[str, str] = field(default_factory=dict, repr=False)


def data_dir() -> Path:
    """The data folder: TOKENHUB_DATA, or `var` in the repository. It need not exist."""
    named = os.environ.get("TOKENHUB_DATA")
    return Path(named).expanduser().resolve() if named else REPOSITORY / "var"


def make_data_dir(data: Path) -> None:
    """Create the folder, for its owner alone. Raises StackError when that is impossible."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(f"owned by user id {data.stat().st_uid}, and this is user id {os.geteuid()}")
    except OSError as error:
        raise StackError(f"The data folder {data} cannot be used: {error}.") from error
    if data.stat().st_uid == os.geteuid():
        data.chmod(0o700)


def write_private(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that only its owner can read; whoever reads `path` sees the old content or the new, never half."""
    temporary = _write_temporary(path, content)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise


def load_secrets(data: Path) -> Secrets | None:
    """The folder's secrets; None when it has none. Raises StackError when they cannot be read."""
    path = data / "secrets.json"
    try:
        return Secrets(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StackError(f"{path} cannot be read: {error}") from error


def ensure_secrets(data: Path) -> Secrets:
    """The folder's secrets, made now if there are none yet.

    Raises StackError when the folder has a database but no secrets: new ones could not open it.
    """
    make_data_dir(data)
    if found := load_secrets(data):
        return found
    path = data / "secrets.json"
    if (data / "postgres").exists():
        raise StackError(
            f"{path} is missing, and the database beside it cannot be used without it: put it back from a backup, "
            f"or move {data} away to begin anew."
        )
    made = Secrets(
        secret_key=secrets.token_urlsafe(48),
        encryption_key=new_encryption_key(),
        postgres_password=secrets.token_urlsafe(24),
        valkey_password=secrets.token_urlsafe(24),
    )
    temporary = _write_temporary(path, asdict(made))
    try:
        # Unlike a rename, a link never replaces: of two that race here, both end with the first one's secrets.
        path.hardlink_to(temporary)
    except FileExistsError:
        return ensure_secrets(data)
    finally:
        temporary.unlink()
    return made


def new_encryption_key() -> str:
    """A key for fields encrypted at rest: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@contextlib.contextmanager
def hold_lock(data: Path) -> Iterator[None]:
    """Be the one `up` of this folder. Raises AlreadyRunning when there is one."""
    make_data_dir(data)
    with (data / "up.lock").open("a+") as lock:
        # Somebody who looks whether `up` is alive holds the lock for a moment (see `running`).
        deadline = time.monotonic() + 1
        while not _try_lock(lock.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                lock.seek(0)
                pid = lock.read().strip() or "unknown"
                raise AlreadyRunning(f"The data folder {data} is in use: another `up` runs on it (process {pid}).")
            time.sleep(0.05)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        # The lock ends with the file descriptor, that is with this process at the latest; the file stays.
        yield


def is_up(data: Path) -> bool:
    """Whether an `up` lives on this folder. Never wrong about a file that a killed one left behind."""
    try:
        with (data / "up.lock").open("r") as lock:
            # A shared lock, so that two who look at the same time do not take each other for an `up`.
            return not _try_lock(lock.fileno(), fcntl.LOCK_SH)
    except OSError:
        return False


def write_running(data: Path, state: Running) -> None:
    """Say where the servers are; to be called by the `up` that holds the lock."""
    write_private(data / "running.json", asdict(state))


def forget_running(data: Path) -> None:
    """The servers are going away."""
    (data / "running.json").unlink(missing_ok=True)


def running(data: Path) -> Running | None:
    """Where the servers of the living `up` are; None when there is no such `up`, or it is not ready yet."""
    if not is_up(data):
        return None
    try:
        return Running(**json.loads((data / "running.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def not_running_message(data: Path) -> str:
    """What to tell somebody whose command needs the servers when `running` says None."""
    if is_up(data):
        return f"The embedded stack is starting or stopping (data folder {data}). Try again in a moment."
    return (
        f"The embedded stack is not running (data folder {data}). "
        "Start it with `make up` in another terminal, or set DATABASE_URL and REDIS_URL."
    )


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_temporary(path: Path, content: Mapping[str, Any]) -> Path:
    # mkstemp makes the file with mode 0600, whatever the umask.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)
