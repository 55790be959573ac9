"""The admin's lists with five million devices, beside the same pages of a plain ModelAdmin."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

from bench import machine
from bench.scale import known

DEVICES = int(os.environ.get("BENCH_DEVICES", "5000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
PATIENCE = 10.0  # seconds for one page; what takes longer is asked for once after the warm-up


def measure() -> list[dict[str, object]]:
    """Milliseconds for each page, whole: middleware, queries, templates."""
    with known(DEVICES) as (stores, _):
        found: list[dict[str, object]] = machine.told_by(
            "bench.admin", env={**stores.environment, "TOKENHUB_SECOND_FACTOR": "false"}
        )
    return found


def pages() -> Iterator[tuple[str, str, str]]:
    """What is looked at: its name, and its address in our lists and in the plain ones."""
    middle = DEVICES // 2
    far = f"?p={middle // 50}"
    for table in ("device", "mobileuser", "dataversemapping", "registration"):
        yield f"{table}: first page", f"{table}/", f"{table}/"
        yield f"{table}: a page in the middle", f"{table}/?older={middle}", f"{table}/{far}"
    yield "device: android", "device/?show=android", "device/?platform__exact=android"
    yield "device: retired", "device/?show=retired", "device/?retired_at__isnull=False"
    yield "dataversemapping: not found", "dataversemapping/?show=not_found", "dataversemapping/?state__exact=not_found"
    yield "registration: failed", "registration/?show=failed", "registration/?state__exact=failed"
    yield "device: by installation id", "device/?q={device}", "device/?q={device}"
    yield "mobileuser: by e-mail", "mobileuser/?q={email}", "mobileuser/?q={email}"


def compare() -> list[dict[str, object]]:
    """Runs with Django set up, on the fleet."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client, override_settings

    from registry.models import Device

    with connection.cursor() as cursor:
        cursor.execute("UPDATE registry_registration SET state = 'failed' WHERE device_id % 1000 = 0")
        cursor.execute("UPDATE registry_device SET retired_at = now() WHERE id % 1000 = 1 AND retired_at IS NULL")
        cursor.execute("UPDATE registry_dataversemapping SET state = 'not_found' WHERE user_id % 1000 = 2")
        for table in ("device", "mobileuser", "dataversemapping", "registration"):
            cursor.execute(f"ANALYZE registry_{table}")
    User.objects.filter(username="bench").delete()
    user = User.objects.create_superuser("bench")
    names: Any = Device.objects.select_related("user").filter(user__isnull=False, pk__gte=DEVICES // 3).first()
    given = {"device": names.installation_id, "email": names.user.email}
    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client()
    client.force_login(user)
    found = []
    with override_settings(ROOT_URLCONF="bench.plain_admin", MESSAGE_STORAGE=settings.MESSAGE_STORAGE):
        for name, ours, plain in pages():
            row: dict[str, object] = {"name": name}
            for column, root, path in (("ours", "/admin/registry/", ours), ("plain", "/plain/registry/", plain)):
                row[column] = _milliseconds(partial(_get, client, root + path.format(**given)))
            found.append(row)
            print(row, file=sys.stderr, flush=True)  # noqa: T201
        for name, path in (
            ("overview", ""),
            ("explain, by e-mail", "explain/?q={email}"),
            ("unresolved users", "unresolved/?state=not_found"),
        ):
            address = "/admin/" + path.format(**given)
            found.append({"name": name, "ours": _milliseconds(partial(_get, client, address))})
    user.delete()
    return found


def _get(client: Any, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.status_code, answer.get("Location"))
    assert len(answer.content) > 5000


def _milliseconds(ask: Callable[[], None]) -> float:
    """The median of ROUNDS times, or of as many as there is patience for, after one that warms up."""
    ask()
    times: list[float] = []
    while len(times) < ROUNDS and sum(times) < PATIENCE:
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    return round(median(times) * 1000, 1)


def main() -> None:
    """What `measure` runs in a process of its own."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    import django

    django.setup()
    sys.stdout.write(json.dumps(compare()))


if __name__ == "__main__":
    main()
