"""Imports: how fast `manage.py import_devices` takes over a file, beside reading and checking the same rows alone.

It is killed in the middle and started again; in the end the tables have to hold exactly what the file says.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import batched
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench import fleet, machine

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
BAD_EACH = 10_000  # rows, of which one has a token that is none


def measure() -> list[dict[str, object]]:
    """Rows a second, and the memory of each process in bytes."""
    with machine.stores() as stores:
        machine.load_fleet(stores, 1)
        path = stores.folder / "devices.jsonl"
        with path.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in _rows())
        checked = _ran([sys.executable, "-m", "bench.imports", str(path)], stores.environment)
        argv = [sys.executable, "manage.py", "import_devices", str(path), "--app", "shop", "--json"]
        first = _ran(argv, stores.environment, kill_when=lambda: _imported(path) >= ROWS // 2)
        rest = _ran(argv, stores.environment)
        wrong = _compare(stores.database_url)
        told = len((stores.folder / "devices.jsonl.errors.jsonl").read_text().splitlines())
    seconds = first["seconds"] + rest["seconds"]
    return [
        {"name": "read and checked alone", "per_second": ROWS / checked["seconds"], **checked},
        {"name": "imported", "per_second": ROWS / seconds, "seconds": seconds, "before the kill": first, "after": rest},
        {"name": "agreement", "rows": ROWS, "wrong or missing": wrong, "bad": ROWS // BAD_EACH, "told as errors": told},
    ]


def _rows() -> Iterator[dict[str, Any]]:
    """As a former system may have exported them. The fleet's first phone is there already."""
    for number in range(2, ROWS + 2):
        row = fleet.launch(number)
        yield {**row, "token": "no token"} if _is_bad(number) else row


def _is_bad(number: int) -> bool:
    return number % BAD_EACH == 0


def _imported(path: Path) -> int:
    """How many rows of the file the import has noted beside it as done."""
    noted = path.with_name(f"{path.name}.progress.json")
    return sum(json.loads(noted.read_text())["counts"].values()) if noted.exists() else 0


def _ran(
    argv: list[str], environment: Mapping[str, str], kill_when: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """Run it, or kill it (SIGKILL) once that is so; seconds, and the most memory it had."""
    began = time.perf_counter()
    memory = 0
    with subprocess.Popen(argv, env=environment, cwd=machine.ROOT, stdout=sys.stderr) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                memory = max(memory, watched.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            if kill_when():
                process.kill()
            time.sleep(0.1)
        process.wait()
    return {"seconds": time.perf_counter() - began, "bytes": memory, "exit status": process.returncode}


def _compare(database_url: str) -> int:
    """How many devices are not there as the file has them, or are there and should not be."""
    wanted = {
        row["installation_id"]: (row["token"], row["user"]["id"], row["user"]["email"], row["model"])
        for number, row in enumerate(_rows(), 2)
        if not _is_bad(number)
    }
    wrong = 0
    with psycopg.connect(database_url) as connection, connection.cursor("all") as cursor:
        cursor.execute(
            "SELECT d.installation_id, d.token, u.external_id, u.email, d.model FROM registry_device d"
            " JOIN registry_mobileuser u ON u.id = d.user_id WHERE d.id > 1"
        )
        for name, *values in cursor:
            wrong += wanted.pop(name, None) != tuple(values)
    return wrong + len(wanted)


def main(path: Path) -> None:
    """Read and check all rows and do nothing with them."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    import django

    django.setup()
    from registry.api.imports import check_rows
    from registry.api.serializers import MAX_IMPORT
    from registry.models import MobileApp
    from registry.services.import_files import read_rows

    app = MobileApp.objects.get()
    for rows in batched(read_rows(path, app.slug), MAX_IMPORT):
        check_rows(app, [row.value for row in rows if not row.error])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
