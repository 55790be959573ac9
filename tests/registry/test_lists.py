"""Lists of big tables: every page is read from an index, however many rows there are, and nothing is counted."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from registry.models import Device, InteractionEvent, MobileApp, Registration
from registry.services.lists import LISTINGS
from tests.people import signed_in, staff

ROWS = 6_000
MOST = 1_500  # rows that a step of a plan may read: all pages of all apps together need fewer
BIG = {
    *("registry_device", "registry_mobileuser", "registry_dataversemapping", "registry_registration"),
    *("registry_interactionevent", "auditlog_logentry"),
}
FILL = """
INSERT INTO registry_mobileuser (app_id, external_id, email, phone, push_consent, tracking_consent)
SELECT {app}, 'user-' || n, 'user-' || n || '@example.com', '', n % 500 > 0, true
FROM generate_series(1, {rows}) n;
INSERT INTO registry_dataversemapping
    (user_id, state, "table", matched_by, candidates, detail, attempts, claim_no, recheck_at)
SELECT id, 'not_found', '', '', '[]', '', 0, 0, now() FROM registry_mobileuser WHERE app_id = {app};
INSERT INTO registry_device (app_id, installation_id, platform, token, token_hash, user_id, app_version, os_version,
    model, locale, time_zone, retired_at, retired_reason, shared_since, user_tokens_from, revision, planned_revision)
SELECT {app}, 'phone-' || id, CASE WHEN id % 2 = 0 THEN 'ios' ELSE 'android' END, 'token-' || id,
    sha256(('token-' || id)::bytea), CASE WHEN id % 300 > 0 THEN id END, '', '', '', '', '',
    CASE WHEN id % 700 = 0 THEN now() END, '', CASE WHEN id % 900 = 0 THEN now() END, 0, 1, 1
FROM registry_mobileuser WHERE app_id = {app};
INSERT INTO registry_registration (app_id, device_id, "table", dataverse_id, platform, token, token_hash, desired,
    state, reason, detail, attempts, rounds, maybe_held, recheck, in_flight, claim_no)
SELECT {app}, id, 'contact', gen_random_uuid(), platform, token, token_hash, true,
    CASE WHEN id % 400 = 0 THEN 'failed' ELSE 'registered' END, '', '', 0, 0, true, false, false, 0
FROM registry_device WHERE app_id = {app};
INSERT INTO registry_interactionevent
    (app_id, device_id, token, status, message_id, occurred_at, state, reason, attempts, claim_no)
SELECT {app}, id, token, 'Opened', '', now(), CASE WHEN id % 400 = 0 THEN 'failed' ELSE 'relayed' END, '', 0, 0
FROM registry_device WHERE app_id = {app};
"""
AUDIT = """
INSERT INTO auditlog_logentry
    (content_type_id, object_pk, object_repr, action, changes_text, changes, timestamp, actor_id)
SELECT (SELECT min(id) FROM django_content_type), n::text, 'phone-' || n, n % 3, '', '{{}}', now(), {actor}
FROM generate_series(1, {rows}) n
"""
PAGES = {model._meta.model_name: f"/admin/registry/{model._meta.model_name}/" for model in LISTINGS}


@pytest.fixture
def small(make_app: Callable[..., MobileApp]) -> MobileApp:
    """A small app, and two that have some more rows."""
    small = make_app("small")
    fill(small, 60)
    for slug in ("shop", "bank"):
        fill(make_app(slug), 100)
    return small


def fill(app: MobileApp, rows: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL.format(app=app.pk, rows=rows))


@pytest.fixture
def chief(small: MobileApp) -> Client:
    return signed_in(User.objects.create_superuser("chief"))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def big_steps(queries: CaptureQueriesContext) -> list[str]:
    """What in the plans of these queries reads many rows of a big table, each with its statement."""
    found = []
    for query in queries.captured_queries:
        if not query["sql"].startswith("SELECT") or not any(table in query["sql"] for table in BIG):
            continue
        assert "COUNT(" not in query["sql"], query["sql"]
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query["sql"])
            [(text,)] = cursor.fetchall()
        plan = json.loads(text) if isinstance(text, str) else text
        for node in nodes(plan[0]["Plan"]):
            read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            read = read * node["Actual Loops"]
            whole = node["Node Type"] == "Seq Scan" and re.sub("_p?[0-9].*|_default", "", node["Relation Name"]) in BIG
            if (read > MOST and re.search("Scan|Sort", node["Node Type"])) or (
                whole and node.get("Rows Removed by Filter", 0) + node["Actual Rows"] > MOST
            ):
                found.append(f"{node['Node Type']} reads {read:.0f} rows: {query['sql'][:300]}")
    return found


def pages() -> list[str]:
    every = []
    for model, listing in LISTINGS.items():
        path = f"/admin/registry/{model._meta.model_name}/"
        every += [
            path,
            f"{path}?older=4000",
            f"{path}?newer=4000",
            f"{path}?q=phone-77",
            f"{path}?q=user-77@example.com",
        ]
        every += [f"{path}?show={show}" for show in listing.shows]
        every += [f"{path}?app=APP", *(f"{path}?app=APP&show={show}" for show in listing.shows)]
    audit = "/admin/auditlog/logentry/"
    return [*every, audit, f"{audit}?older=4000", f"{audit}?q=phone-77", f"{audit}?action__exact=3"]


@pytest.mark.django_db
def test_no_list_reads_sorts_or_counts_a_big_table(
    make_app: Callable[..., MobileApp], small: MobileApp, chief: Client
) -> None:
    for slug in ("big", "large"):
        fill(make_app(slug), ROWS)
    with connection.cursor() as cursor:
        cursor.execute(AUDIT.format(rows=ROWS, actor=User.objects.create_user("quiet", is_staff=True).pk))
        for table in BIG:
            cursor.execute(f"ANALYZE {table}")
        # A table of so few rows PostgreSQL would rather read as a whole than look fifty rows up in it.
        cursor.execute(
            "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL random_page_cost = 1.1"
        )
    few = signed_in(staff("olga", "viewer", apps=["small"]))
    two = signed_in(staff("vera", "viewer", apps=["small", "large"]))
    found = []
    for client in (chief, few, two):
        for path in pages():
            if (client is not chief and "auditlog" in path) or (client is two and "show" in path):
                continue
            with CaptureQueriesContext(connection) as queries:
                answer = client.get(path.replace("APP", str(small.pk)))
            assert answer.status_code == 200, path
            found += [f"{path} {step}" for step in big_steps(queries)]
    assert not found, "\n".join(found)


def listed(client: Client, path: str) -> tuple[list[int], str | None, str | None]:
    """The ids of a page, and where it says that the older and the newer page are."""
    text = client.get(path).content.decode()
    ids = [int(found) for found in re.findall(r'name="_selected_action"[^>]*value="(\d+)"', text)]
    ids = ids or [int(found) for found in dict.fromkeys(re.findall(r"/admin/registry/\w+/(\d+)/change/", text))]
    older, newer = re.search(r'rel="next" href="([^"]+)"', text), re.search(r'rel="prev" href="([^"]+)"', text)
    return ids, older and older[1].replace("&amp;", "&"), newer and newer[1].replace("&amp;", "&")


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["?", "?show=failed", "?app=APP", "?app=APP&show=failed"])
def test_the_pages_of_a_list_hold_every_row_once_and_lead_back(small: MobileApp, chief: Client, query: str) -> None:
    path = "/admin/registry/registration/"
    Registration.objects.exclude(app=small).filter(pk__gt=small.registrations.latest("pk").pk + 200).delete()
    asked = query.replace("APP", str(small.pk))
    seen: list[int] = []
    visited: list[list[int]] = []
    next_page = f"{path}{asked}"
    while next_page:
        ids, older, newer = listed(chief, next_page)
        assert newer or not visited, "only the first page has no newer one"
        visited.append(ids)
        seen += ids
        next_page = f"{path}{older}" if older else ""
    wanted = Registration.objects.order_by("-pk")
    wanted = wanted.filter(state="failed") if "failed" in query else wanted
    wanted = wanted.filter(app=small) if "APP" in query else wanted
    assert seen == list(wanted.values_list("pk", flat=True))
    if len(visited) > 1:
        _, _, newer = listed(chief, f"{path}{asked}&older={visited[-2][-1]}")
        assert newer
        assert listed(chief, f"{path}{newer}")[0] == visited[-2]


@pytest.mark.django_db
def test_a_list_finds_what_a_person_has_in_hand(small: MobileApp, chief: Client) -> None:
    device = Device.objects.filter(app=small, user__isnull=False).earliest("pk")
    assert device.user
    for text in (device.installation_id, device.user.external_id, device.user.email, device.token):
        assert device.pk in listed(chief, f"/admin/registry/device/?q={text}&app={small.pk}")[0], text
    registration = Registration.objects.get(device=device)
    assert listed(chief, f"/admin/registry/registration/?q={device.installation_id}")[0] == [registration.pk]
    event = InteractionEvent.objects.get(device=device)
    assert listed(chief, f"/admin/registry/interactionevent/?q={device.installation_id}")[0] == [event.pk]
    assert listed(chief, "/admin/registry/device/?q=phone-")[0] == []


@pytest.mark.django_db
def test_no_choice_counts_a_big_table_and_those_of_apps_are_in_order(small: MobileApp, chief: Client) -> None:
    ask = "/admin/autocomplete/?app_label={}&model_name={}&field_name={}&term={}"
    fields = [("registry", "device", "user"), ("registry", "registration", "device"), ("registry", "device", "app")]
    with CaptureQueriesContext(connection) as queries:
        found = [chief.get(ask.format(*field, "s")) for field in fields]
    assert [answer.status_code for answer in found] == [404, 404, 200]
    assert [row["text"] for row in found[-1].json()["results"]] == ["shop", "small"]
    counted = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert not [statement for statement in counted if any(table in statement for table in BIG)]


@pytest.mark.django_db
def test_what_somebody_does_not_see_no_address_shows(small: MobileApp) -> None:
    other = MobileApp.objects.get(slug="shop")
    client = signed_in(staff("olga", "viewer", apps=["small"]))
    theirs = Device.objects.filter(app=other).earliest("pk")
    for query in (f"?app={other.pk}", f"?app={other.pk}&show=retired", f"?q={theirs.installation_id}"):
        assert listed(client, f"/admin/registry/device/{query}")[0] == []
    assert len(listed(client, "/admin/registry/device/?older=99999999999")[0]) == 50
    assert LogEntry.objects.exists()
