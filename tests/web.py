"""The web server as it runs in production, on the test's own database."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from django.db import connection

from tokenhub.embedded import ports
from tokenhub.embedded.processes import guarded, spawn, stop, wait_ready

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def web_server(log: Path, environment: Mapping[str, str] | None = None, workers: int = 2) -> Iterator[str]:
    """Run it in processes of its own; gives its address. What it logs is in `log`. Needs a committed database."""
    port = ports.choose()
    url = f"http://127.0.0.1:{port}"
    database = f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{connection.settings_dict['NAME']}"
    env = os.environ | {
        "DATABASE_URL": database,
        "TOKENHUB_ALLOWED_HOSTS": "127.0.0.1",
        "TOKENHUB_HTTPS": "false",
        "TOKENHUB_LIMIT_ADDRESS": "1000000",  # counted, and told in headers
        **(environment or {}),
    }
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(workers), "--blocking-threads", "4", "--no-ws", "tokenhub.wsgi:application"]
    with log.open("wb") as output:
        server: subprocess.Popen[bytes] = spawn(guarded(command), output=output, env=env, cwd=ROOT)
    try:
        wait_ready(server, lambda: _answers(f"{url}/livez"), name="web")
        yield url
    finally:
        stop(server, stop_signal=signal.SIGTERM, timeout=10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 our own
            return bool(answer.status == 200)
    except OSError:
        return False
