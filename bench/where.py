"""Where the time of one launch goes, by part: in a process of its own, without a web server, in front of Django and
through it."""

import io
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from bench import fleet, machine

DEVICES = 2000


def measure() -> list[dict[str, object]]:
    """Microseconds for each part of a launch that changes nothing, and of one that renews its token."""
    with machine.stores() as stores:
        keys = machine.load_fleet(stores, DEVICES)
        rows: list[dict[str, object]] = machine.told_by(
            "bench.where",
            env={**stores.environment, "BENCH_KEY": keys["server"], "TOKENHUB_LOG_LEVEL": "WARNING"},
        )
    return rows


def main() -> None:
    """What `measure` runs."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    from tokenhub import wsgi  # sets Django up
    from registry.api import lane  # isort: skip
    from registry.services import limits  # isort: skip

    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

        return call

    parts: dict[str, Any] = {
        "key": (lane, "known_key"),
        "limits": (limits, "count"),
        "body read and compared with the common form": (lane, "_launch"),
        "SELECT": (lane, "compare"),
        "checks of what is to be written": (lane, "_is_valid"),
        "locks, UPDATE or INSERT, commit; nudge": (lane, "record_plainly"),
    }
    for name, (owner, attribute) in parts.items():
        setattr(owner, attribute, timed(name, getattr(owner, attribute)))

    application: Any = wsgi.application
    application._seen = timed("counts and log", application._seen)  # noqa: SLF001
    rows: list[dict[str, object]] = []
    for case, posted_to, generation in (
        ("unchanged, by the lane", wsgi.application, 0),
        ("unchanged, through Django", wsgi.django, 0),
        ("token renewed, by the lane", wsgi.application, 1),
        ("token renewed, through Django", wsgi.django, 2),
    ):
        numbers = range(1, DEVICES // 2)
        _post(posted_to, fleet.launch(DEVICES))
        spent.clear()
        began = time.perf_counter()
        for number in numbers:
            _post(posted_to, fleet.launch(number, generation=generation))
        whole = (time.perf_counter() - began) / len(numbers)
        told = {name: round(seconds / len(numbers) * 1e6) for name, seconds in spent.items()}
        rows.append({"name": case, "microseconds": round(whole * 1e6), **told})
    sys.stdout.write(json.dumps(rows))


def _post(application: Any, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/devices",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": f"Bearer {os.environ['BENCH_KEY']}",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(content),
        "wsgi.errors": sys.stderr,
    }
    statuses: list[str] = []
    answered = application(environ, lambda status, headers: statuses.append(status))
    b"".join(answered)
    if hasattr(answered, "close"):
        answered.close()
    assert statuses[0].startswith("20"), statuses


if __name__ == "__main__":
    main()
