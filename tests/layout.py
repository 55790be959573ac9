"""The processes of production, each started by hand as `deploy/run` starts it, on the test's own database."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connection

from registry.services.valkey import valkey
from tokenhub.celery import app as celery
from tokenhub.embedded import ports
from tokenhub.embedded.processes import guarded, spawn, stop, wait_ready

ROOT = Path(__file__).resolve().parent.parent
DRAIN = 60.0  # seconds that a process may take to end in order


@dataclass
class Part:
    """One process: what runs it, and how it is known to be ready."""

    argv: list[str]
    env: dict[str, str]
    log: Path
    url: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    drained: list[float] = field(default_factory=list)  # seconds, one for each end in order

    def start(self) -> None:
        with self.log.open("ab") as output:
            said, began = self.log.stat().st_size, time.time()
            self.process = spawn(guarded(self.argv), output=output, env=self.env, cwd=ROOT)
        wait_ready(self.process, lambda: self._is_ready(said, began), name=self.log.stem)

    def end(self) -> int:
        """SIGTERM, as whoever restarts it sends it; the exit status. It must not have to be killed."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(DRAIN)
        self.drained.append(time.monotonic() - began)
        return status

    def restart(self) -> int:
        status = self.end()
        self.start()
        return status

    def _is_ready(self, said: int, began: float) -> bool:
        if "beat" in self.argv:  # it says nothing, and writes its schedule down
            schedule = Path(self.env["STATE_DIRECTORY"]) / "tokenhub-beat"
            return schedule.exists() and schedule.stat().st_mtime >= began
        if not self.url:
            return b" ready." in self.log.read_bytes()[said:]
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:  # noqa: S310 our own
                return bool(answer.status == 200)
        except OSError:
            return False


@dataclass
class Layout:
    """Parts by name, e.g. `web-1`, `worker`."""

    parts: dict[str, Part]

    def urls(self) -> list[str]:
        return [part.url for part in self.parts.values() if part.url]


def forget_nudges() -> None:
    """Drop those that wait, and their marks, for whose sake the next ones would be dropped."""
    celery.control.purge()
    for mark in valkey().scan_iter("tokenhub:nudge:*"):
        valkey().delete(mark)


@contextmanager
def layout(
    folder: Path, *names: str, environment: Mapping[str, str] | None = None, database: str = ""
) -> Iterator[Layout]:
    """Run the parts named, `web…`, `worker…`, `urgent…` or `beat…`; end them afterwards. Needs a committed database."""
    database = database or f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{connection.settings_dict['NAME']}"
    env = os.environ | {
        "DATABASE_URL": database,
        "TOKENHUB_ALLOWED_HOSTS": "push.example.com",
        "TOKENHUB_TRUST_FORWARDED_PROTO": "true",
        "PYTHONWARNINGS": "ignore",
        "STATE_DIRECTORY": str(folder),
        **(environment or {}),
    }
    running = Layout({})
    try:
        for name in names:
            kind, port = name.partition("-")[0], ports.choose()
            mine = env | ({"TOKENHUB_ROLE": "api", "GRANIAN_PORT": str(port)} if kind == "web" else {})
            words = [] if kind in ("web", "beat") else ["--concurrency", "2", "--hostname", f"{name}@%h"]
            url = f"http://127.0.0.1:{port}" if kind == "web" else ""
            part = Part([str(ROOT / "deploy" / "run"), kind, *words], mine, folder / f"{name}.log", url)
            running.parts[name] = part
            part.start()
        yield running
    finally:
        for part in running.parts.values():
            if part.process:
                stop(part.process, signal.SIGTERM, timeout=20)
