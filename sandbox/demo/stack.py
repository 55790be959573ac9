"""The whole stack as a child process: `manage.py up --sandbox` on a folder that begins empty."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

ROOT = Path(__file__).parent.parent.parent
# Only folders with this file in them are wiped.
MARKER = "made-by-the-demo"
PATIENCE = 180.0
STOPPING = 60.0


class DemoError(Exception):
    """The demo cannot be run to its end; the message says why and where to look."""


class StackError(DemoError):
    """The stack cannot be brought up, or has ended."""


@dataclass(frozen=True)
class Details:
    """What `up --sandbox` tells of itself once everything is ready."""

    url: str
    server_key: str
    mobile_key: str
    sandbox: Path
    mobile_app_id: str

    @classmethod
    def read(cls, path: Path) -> "Details":
        """From `demo.json`; KeyError or ValueError where it is not as expected."""
        data: dict[str, Any] = json.loads(path.read_text())
        return cls(
            data["url"], data["server_key"], data["mobile_key"], Path(data["sandbox"]), data["mobile_app_id"].lower()
        )


class Stack:
    """Use as a context manager: what it started is stopped at the end, however that comes.

    `environment` is added to ours.
    """

    def __init__(self, data: Path, port: int, environment: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.log = data / "up.log"
        self._port = port
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        wipe(self.data)
        words = ["manage.py", "up", "--sandbox", "--data", str(self.data), "--port", str(self._port)]
        command = [*_end_with_parent(), sys.executable, *words]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env=_environment(os.environ) | self._environment,
                # A Ctrl-C at the terminal is ours alone: we end it in our own time.
                start_new_session=True,
            )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPING)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def pid(self) -> int:
        """The process number of `up`."""
        if self._process is None:
            raise StackError("the stack was not started")
        return self._process.pid

    def check(self) -> None:
        """StackError where `up` is no longer running."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise StackError(f"`manage.py up` has ended with {code}. Its last words:\n{self._last_words()}")

    def ready(self) -> Details | None:
        """What the stack says of itself, None while it is starting; StackError where it will not come."""
        self.check()
        path = self.data / "demo.json"
        if not path.exists():
            return None
        try:
            return Details.read(path)
        except (KeyError, ValueError) as error:
            raise StackError(f"{path} is not as expected: {error!r}") from error

    def wait_until_ready(self) -> Details:
        """Block until the stack can be used."""
        ends = time.monotonic() + PATIENCE
        while (details := self.ready()) is None:
            if time.monotonic() > ends:
                raise StackError(f"not ready after {PATIENCE:.0f} s. The last words of up:\n{self._last_words()}")
            time.sleep(0.1)
        return details

    def wait_until_working(self, details: Details) -> None:
        """Block until workers take from every queue: phones that post earlier are served, and wait for these."""
        ends = time.monotonic() + PATIENCE
        says = "nothing was asked"
        with httpx2.Client(trust_env=False, timeout=5) as client:
            while says != "ok":
                self.check()
                if time.monotonic() > ends:
                    raise StackError(f"the workers are not there after {PATIENCE:.0f} s: {says}")
                try:
                    says = client.get(f"{details.url}/readyz").json()["workers"]
                except (httpx2.HTTPError, ValueError, KeyError) as error:
                    says = repr(error)
                time.sleep(0.1)

    def wait_until_ended(self) -> None:
        """Block until somebody stops it, or us."""
        if self._process is not None:
            self._process.wait()

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])


def wipe(folder: Path) -> None:
    """Make `folder` empty but for our marker. StackError where it is not ours to wipe, or a stack is running on it."""
    marker = folder / MARKER
    if folder.exists() and any(folder.iterdir()):
        if not marker.exists():
            raise StackError(f"{folder} is not empty and was not made by the demo: it is not wiped. Choose another.")
        if _in_use(folder / "up.lock"):
            raise StackError(f"a stack is running on {folder}: stop it first, or choose another folder with --data.")
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker.touch()


def _in_use(lock: Path) -> bool:
    if not lock.exists():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what would point the stack at servers that are not the demo's own and not empty.

    All its phones live at one address, which is therefore not limited.
    """
    left_out = {"DATABASE_URL", "REDIS_URL", "TOKENHUB_DATA", "SSL_CERT_FILE"}
    return {name: value for name, value in environment.items() if name not in left_out} | {
        "TOKENHUB_LIMIT_ADDRESS": "0"
    }


def _end_with_parent() -> list[str]:
    """The words that make a child end when we are killed outright, where the system has them (Linux, util-linux)."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    words = [setpriv, "--pdeathsig", "TERM", "--"]
    return words if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0 else []
