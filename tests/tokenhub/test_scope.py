"""Whoever sees one app comes across to no other, by any address of the admin: every page, action, choice and file."""

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import Model
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from registry.models import (
    ApiKey,
    BulkError,
    BulkJob,
    ChangeFeed,
    DataverseMapping,
    DayFigures,
    Device,
    Erasure,
    EventCount,
    InteractionEvent,
    MobileApp,
    MobileUser,
    Pause,
    Registration,
    ReplacedConnection,
    TokenIssuer,
)
from registry.services import bulk_jobs
from registry.services.apps import create_dataverse
from registry.services.audit import record
from registry.services.keys import create_key
from registry.services.lists import LISTINGS
from registry.states import BulkKind
from sync.pages.app import ACTIONS
from sync.steps import bulk
from tests.conftest import Api
from tests.people import signed_in, staff

pytestmark = pytest.mark.django_db

RECORD = uuid.UUID("00000000-0000-4000-8000-000000000007")
# Whatever is in hand of somebody of the other app; none of it says which app that is.
IN_HAND = ("xaver@example.com", "+4930123456", "xaver", str(RECORD), "phone-of-xaver", "token-of-xaver", "-xaver")
ELSEWHERE = ("account/", "login/", "logout/", "jsi18n/", "password_change/")  # one's own, or nobody's
type Rows = dict[type[Model], Model]


@pytest.fixture
def theirs(app: MobileApp, make_app: Callable[..., MobileApp]) -> Rows:
    """A row in every table, of an app that the tests' people do not see. Its name is in whatever shows it."""
    environment = create_dataverse(
        name="bank-dataverse", url="https://bank.crm4.dynamics.com", tenant="bank.onmicrosoft.com",
        client_id=str(uuid.uuid4()), client_secret="s",
    )  # fmt: skip
    bank = make_app("bank", dataverse=environment, name="The bank")
    server = Api(create_key(app=bank, kind="server", name="key of the bank"))
    server.launch(
        installation_id="phone-of-xaver", token="token-of-xaver", model="bank phone",
        user={"id": "xaver", "email": "xaver@example.com", "phone": "+4930123456"},
    )  # fmt: skip
    device = Device.objects.get(app=bank)
    DataverseMapping.objects.update(state="ambiguous", table="contact", dataverse_id=RECORD, detail="two of the bank")
    registration = Registration.objects.create(
        app=bank, device=device, table="contact", dataverse_id=RECORD, platform="android", token=device.token,
        token_hash=device.token_hash, state="failed", reason="Unknown", detail="refused by the bank's CI-J",
        decided_at=timezone.now(),
    )  # fmt: skip
    event = InteractionEvent.objects.create(
        app=bank, device=device, token=device.token, status="Opened", occurred_at=timezone.now(), state="failed",
        reason="of the bank",
    )  # fmt: skip
    # Everything that somebody has to be told of.
    long_ago = timezone.now() - timedelta(days=60)
    pause = Pause.objects.create(app=bank, reason="credentials", detail="the bank's token", until=long_ago)
    Pause.objects.create(environment=environment, reason="throttled", detail="the bank's", until=long_ago)
    erasure = Erasure.objects.create(app=bank, requested_by="the bank's server")
    Erasure.objects.update(requested_at=long_ago)
    issuer = TokenIssuer.objects.create(
        app=bank, issuer="https://login.bank.example", audience="bank", jwks_url="https://login.bank.example/keys",
        keys_error="the bank does not answer", keys_failing_since=long_ago,
    )  # fmt: skip
    idle = make_app("bank-idle", dataverse=environment)
    MobileUser.objects.create(app=idle, external_id="of the idle bank")
    DataverseMapping.objects.create(user=MobileUser.objects.get(app=idle), due_at=long_ago)
    EventCount.objects.create(app=bank, day=timezone.now().date(), tracking_id=uuid.uuid4(), accepted=4, relayed=4)
    DayFigures.objects.create(app=bank, day=timezone.now().date(), counted_at=timezone.now(), devices=4711)
    job = BulkJob.objects.create(kind=BulkKind.RETIRE, by="xaver", what="all devices of the bank", model="Device")
    BulkError.objects.create(job=job, line=1, detail=[{"detail": "of the bank"}])
    replaced = ReplacedConnection.objects.create(
        slug="bank~1", name="bank", org_id=bank.org_id, mobile_app_id=bank.mobile_app_id, endpoint=bank.endpoint,
        api_token="t", dataverse=environment, replaced_by=bank,
    )  # fmt: skip
    record(bank, "looked after by the bank")
    feed = ChangeFeed.objects.create(environment=environment, table="contact", detail="the bank's feed")
    rows = (
        *(environment, bank, device, registration, event, pause, erasure, issuer, job, replaced, feed),
        *(ApiKey.objects.get(app=bank), MobileUser.objects.get(app=bank), DataverseMapping.objects.get(user__app=bank)),
        *(staff("bankier", "operator", apps=["bank"]),),
    )
    return {type(row): row for row in rows}


def addresses(patterns: list[URLPattern | URLResolver] | None = None, before: str = "") -> Iterator[str]:
    """The routes of the admin, as they are written down."""
    for each in get_resolver().url_patterns if patterns is None else patterns:
        route = before + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from addresses(each.url_patterns, route)
        elif route.startswith("admin/"):
            yield route.removeprefix("admin/")


def pages_of(theirs: Rows) -> Iterator[str]:
    """Every address below /admin/, with that app's rows in it."""
    tables = {model._meta.label_lower.replace(".", "/"): row.pk for model, row in theirs.items()}
    for route in addresses():
        row = tables.get("/".join(route.split("/")[:2]))
        if route.startswith(ELSEWHERE) or "(?P" in route or ("object_id" in route and row is None):
            continue
        yield re.sub(r"<(?:\w+:)?(\w+)>", "bank" if "slug" in route else str(row), route)


def asked_of(theirs: Rows) -> Iterator[str]:
    """What can be asked of those pages that leads to that app's rows."""
    yield from (f"explain/?q={text.replace('+', '%2B')}" for text in IN_HAND)
    bank, user, device, job = (theirs[model].pk for model in (MobileApp, MobileUser, Device, BulkJob))
    yield from (f"explain/?user={user}", f"explain/?device={device}")
    yield from (f"unresolved/?user={user}", "unresolved/?app=bank", "?app=bank", "opens/?app=bank")
    yield from ("opens/?app=bank&file=days", "opens/?app=bank&file=messages")
    yield from (f"registry/bulkjob/{job}/change/?part", f"registry/bulkjob/{job}/change/?errors")
    for model, listing in LISTINGS.items():
        yield f"registry/{model._meta.model_name}/?app={bank}"
        yield from (f"registry/{model._meta.model_name}/?q={text}" for text in ("xaver@example.com", "-xaver"))
        yield from (f"registry/{model._meta.model_name}/?show={show}" for show in listing.shows)
    for model in admin.site._registry:
        for field in model._meta.get_fields():
            if field.is_relation and field.concrete:
                asked = f"app_label={model._meta.app_label}&model_name={model._meta.model_name}&field_name={field.name}"
                yield f"autocomplete/?{asked}&term="
    yield "search/?s=xaver"


def body(answer: HttpResponseBase) -> str:
    content = b"".join(answer) if answer.streaming else answer.content  # type: ignore[attr-defined]
    return bytes(content).decode()


def crossing(client: Client, path: str) -> str:
    """What a page tells of the other app, with some words around it; "" where it is nothing."""
    told = body(client.get(f"/admin/{path}", follow=True)).replace("app=bank", "")  # what was asked for
    found = re.search(r".{0,80}(?:bank|4,711).{0,80}", told, re.DOTALL | re.IGNORECASE)
    return f"{path}: {found[0]!r}" if found else ""


def test_no_address_of_the_admin_tells_of_an_app_that_one_does_not_see(theirs: Rows) -> None:
    client = signed_in(staff("olga", "administrator", apps=["shop"]))  # who sees all that the other roles see
    found = [told for path in (*pages_of(theirs), *asked_of(theirs)) if (told := crossing(client, path))]
    assert found == []


def test_who_sees_every_app_is_told_of_it_there(theirs: Rows) -> None:
    """Else the test above would look for something that nothing shows."""
    client = signed_in(staff("vera", "administrator"))
    paths = [*pages_of(theirs), *(f"explain/?q={text.replace('+', '%2B')}" for text in IN_HAND)]
    told = [path for path in paths[::2] if crossing(client, path)]
    assert len(told) > 30, told


def snapshot(theirs: Rows) -> dict[str, list[dict[str, Any]]]:
    """All rows of that app, and of everything else that hangs on it, as they are."""
    kept = [model for model in theirs if model is not BulkJob]
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in kept}


def post_everywhere(client: Client, theirs: Rows) -> Iterator[str]:
    """Post whatever any page takes of that app's rows; gives the answers of the lists."""
    user, key, pause = (theirs[model] for model in (MobileUser, ApiKey, Pause))
    form: dict[str, object] = {
        "name": "mine", "note": "mine", "force": "on", "confirmed": "1", "select_across": "0", "index": "0",
        f"record-{user.pk}": f"contact:{RECORD}", f"other-{user.pk}": str(RECORD), "again": user.pk, "shown": user.pk,
        "what": pause.pk, "key": key.pk, "api_token": "mine", "kind": "server",
        "app": MobileApp.objects.get(slug="bank-idle").pk, "issuer": "https://mine.example", "audience": "mine",
        "jwks_url": "https://mine.example/keys", "leeway": "0", "user_claim": "sub",
    }  # fmt: skip
    client.post("/admin/unresolved/", {**form, "everybody": "again"})
    for path in pages_of(theirs):
        for do in ACTIONS if path.startswith("apps/of/") else ("",):
            client.post(f"/admin/{path}", {**form, "do": do, "post": "yes"})
    for model, row in theirs.items():
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/?app={theirs[MobileApp].pk}"
        for action in ("delete_selected", "revoke", "forget_second_factor", "export", *map(str, bulk_jobs.KINDS)):
            for across in "01":
                asked = {**form, "action": action, "_selected_action": [row.pk], "select_across": across}
                yield body(client.post(page, asked))
    file = SimpleUploadedFile("devices.csv", b"installation_id,platform,token\nphone-of-xaver,ios,t-1\n")
    client.post("/admin/import/", {"app": theirs[MobileApp].pk, "file": file})


def test_nothing_that_is_posted_changes_an_app_that_one_does_not_see(theirs: Rows, app: MobileApp) -> None:
    client = signed_in(staff("olga", "administrator", apps=["shop"]))
    before = snapshot(theirs)
    for told in post_everywhere(client, theirs):
        assert "xaver" not in told
    assert not BulkJob.objects.filter(kind=BulkKind.IMPORT).exists()
    file = SimpleUploadedFile("devices.csv", b"app,installation_id,platform,token\nbank,phone-of-xaver,ios,t-1\n")
    client.post("/admin/import/", {"app": app.pk, "file": file})
    BulkJob.objects.filter(by="xaver").delete()
    assert BulkJob.objects.filter(by="olga").exists()
    while bulk.run_batch():
        pass
    assert sum(BulkJob.objects.values_list("changed", flat=True)) == 0
    assert {name: rows for name, rows in snapshot(theirs).items() if rows != before[name]} == {}


def test_nothing_that_a_viewer_posts_changes_anything(theirs: Rows) -> None:
    client = signed_in(staff("vera", "viewer"))
    jobs, before = list(BulkJob.objects.values()), snapshot(theirs)
    list(post_everywhere(client, theirs))
    assert list(BulkJob.objects.values()) == jobs
    assert {name: rows for name, rows in snapshot(theirs).items() if rows != before[name]} == {}
