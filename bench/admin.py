"""The admin's pages with 10⁵ devices and with 10⁷, and the lists of a plain ModelAdmin beside the latter."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

from bench import machine
from bench.scale import SIZES, known

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
TABLES = (
    "registry/device",
    "registry/mobileuser",
    "registry/dataversemapping",
    "registry/registration",
    "registry/interactionevent",
    "auditlog/logentry",
)
PATIENCE = 10.0  # seconds for one page; what takes longer is asked for once after the warm-up

# An event of each phone, and as much in the audit log.
_EVENTS = """
INSERT INTO registry_interactionevent (
    app_id, device_id, token, tracking_id, status, message_id, occurred_at, received_at, state, reason, relayed_at,
    attempts, claim_no
) SELECT app_id, id, token, md5('message ' || id %% 10000)::uuid, 'opened', '', now(), now(),
    CASE WHEN id %% 1000 = 3 THEN 'failed' ELSE 'relayed' END, '', now(), 1, 1
FROM registry_device WHERE id <= %(devices)s AND NOT EXISTS (SELECT FROM registry_interactionevent)
"""
_AUDIT = """
INSERT INTO auditlog_logentry (
    content_type_id, object_pk, object_id, object_repr, action, changes_text, changes, actor_id, timestamp
) SELECT (SELECT id FROM django_content_type WHERE app_label = 'registry' AND model = 'device'), id, id,
    installation_id, 1, '', '{"retired_at": ["None", "2026-11-27"]}', %(actor)s, now()
FROM registry_device WHERE id <= %(devices)s AND NOT EXISTS (SELECT FROM auditlog_logentry WHERE actor_id = %(actor)s)
"""


def measure() -> list[dict[str, object]]:
    """Milliseconds for each page, whole: middleware, queries, templates."""
    rows: dict[str, dict[str, object]] = {}
    for size in sorted(SIZES):
        with known(size) as (stores, _):
            environment = {**stores.environment, "TOKENHUB_SECOND_FACTOR": "false"}
            plain = ["--plain"] if size == max(SIZES) else []
            for row in machine.told_by("bench.admin", str(size), *plain, env=environment):
                rows.setdefault(row["name"], {}).update(row)
    return [*rows.values()]


def pages(devices: int) -> Iterator[tuple[str, str, str]]:
    """What is looked at: its name, and its address in our lists and in the plain ones."""
    middle = devices // 2
    far = f"?p={middle // 50}"
    for table in TABLES:
        name = table.partition("/")[2]
        yield f"{name}: first page", f"{table}/", f"{table}/"
        yield f"{name}: a page in the middle", f"{table}/?older={middle}", f"{table}/{far}"
    for name, table, ours, plain in (
        ("device: android", "device", "show=android", "platform__exact=android"),
        ("device: retired", "device", "show=retired", "retired_at__isnull=False"),
        ("dataversemapping: not found", "dataversemapping", "show=not_found", "state__exact=not_found"),
        ("registration: failed", "registration", "show=failed", "state__exact=failed"),
        ("interactionevent: failed", "interactionevent", "show=failed", "state__exact=failed"),
        ("device: by installation id", "device", "q={device}", "q={device}"),
        ("mobileuser: by e-mail", "mobileuser", "q={email}", "q={email}"),
    ):
        yield name, f"registry/{table}/?{ours}", f"registry/{table}/?{plain}"
    yield "logentry: by name", "auditlog/logentry/?q={device}", "auditlog/logentry/?q={device}"


def compare(devices: int, *, plain: bool) -> list[dict[str, object]]:
    """Runs with Django set up, on the fleet of that size; `plain`: the lists of a plain ModelAdmin, too."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client, override_settings

    from registry.models import Device

    actor, _ = User.objects.get_or_create(username="bench-operator")
    with connection.cursor() as cursor:
        for statement in (_EVENTS, _AUDIT):
            cursor.execute(statement, {"devices": devices, "actor": actor.pk})
        cursor.execute("UPDATE registry_registration SET state = 'failed' WHERE device_id % 1000 = 0")
        cursor.execute("UPDATE registry_device SET retired_at = now() WHERE id % 1000 = 1 AND retired_at IS NULL")
        cursor.execute("UPDATE registry_dataversemapping SET state = 'not_found' WHERE user_id % 1000 = 2")
        for table in TABLES:
            cursor.execute(f"ANALYZE {table.replace('/', '_')}")
    User.objects.filter(username="bench").delete()
    user = User.objects.create_superuser("bench")
    names: Any = Device.objects.select_related("user").filter(user__isnull=False, pk__gte=devices // 3).first()
    given = {"device": names.installation_id, "email": names.user.email}
    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client()
    client.force_login(user)
    found = []
    with override_settings(ROOT_URLCONF="bench.plain_admin", MESSAGE_STORAGE=settings.MESSAGE_STORAGE):
        for name, ours, theirs in pages(devices):
            row: dict[str, object] = {"name": name}
            row[f"{devices}"] = _milliseconds(partial(_get, client, "/admin/" + ours.format(**given)))
            if plain:
                row["plain"] = _milliseconds(partial(_get, client, "/plain/" + theirs.format(**given)))
            found.append(row)
            print(row, file=sys.stderr, flush=True)  # noqa: T201
        for name, path in (
            ("overview", ""),
            ("explain, by e-mail", "explain/?q={email}"),
            ("unresolved users", "unresolved/?state=not_found"),
        ):
            address = "/admin/" + path.format(**given)
            found.append({"name": name, f"{devices}": _milliseconds(partial(_get, client, address))})
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
    sys.stdout.write(json.dumps(compare(int(sys.argv[1]), plain="--plain" in sys.argv)))


if __name__ == "__main__":
    main()
