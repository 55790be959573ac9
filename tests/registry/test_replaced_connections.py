"""What replacing and abandoning a connection refuse, and how the admin shows a replaced one."""

import io
import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from registry.models import MobileApp, ReplacedConnection
from registry.services.apps import identity_warnings
from tests.forms import as_posted

TOKEN = ("--api-token", "new-token")


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def replace(*options: str, slug: str = "shop") -> str:
    return run("replace_connection", "--app", slug, *TOKEN, *options)


@pytest.fixture
def moved(app: MobileApp) -> MobileApp:
    """The app after its mobile app id was replaced; its fields are those from before."""
    replace("--mobile-app-id", str(uuid.uuid4()))
    return app


def test_what_is_not_given_stays_as_it_is_and_the_app_stays_itself(app: MobileApp) -> None:
    MobileApp.objects.update(batch_cleanup=False, requests_per_second=7)
    new = str(uuid.uuid4())
    said = replace("--mobile-app-id", new)
    assert "manage.py sync_status --app shop~1" in said
    assert "manage.py abandon_connection --app shop~1 --note TEXT" in said
    shop, old = MobileApp.objects.get(slug="shop"), MobileApp.objects.get(slug="shop~1")
    assert (shop.pk, str(shop.mobile_app_id), shop.api_token, shop.batch_cleanup) == (app.pk, new, "new-token", True)
    assert (shop.org_id, shop.endpoint) == (app.org_id, app.endpoint)
    kept = (old.org_id, old.mobile_app_id, old.endpoint, old.api_token)
    assert kept == (app.org_id, app.mobile_app_id, app.endpoint, "an-api-token")
    assert (old.replaced_by, old.batch_cleanup, old.requests_per_second) == (shop, False, 7)


def test_each_replaced_connection_is_kept_by_a_name_of_its_own(make_app: Callable[..., MobileApp]) -> None:
    slug = "s" * 64
    make_app(slug)
    for _ in range(2):
        replace("--mobile-app-id", str(uuid.uuid4()), slug=slug)
    assert set(MobileApp.objects.values_list("slug", flat=True)) == {slug, f"{'s' * 60}~1", f"{'s' * 60}~2"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--endpoint: This is the app's connection already"),
        (("--org-id", "12"), "--org-id: '12' is not a GUID"),
        (("--endpoint", "evil.example"), "--endpoint: the host 'evil.example' is not allowed"),
        (("--org-id", str(uuid.uuid4()), "--api-token", " "), "--api-token: is empty"),
    ],
)
def test_bad_values_are_named_and_nothing_changes(app: MobileApp, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        replace(*options)
    assert MobileApp.objects.get().connection_no == 1


def test_the_ids_of_another_app_are_refused_and_of_one_that_is_still_retired_there(
    moved: MobileApp, make_app: Callable[..., MobileApp]
) -> None:
    ids = {"org_id": moved.org_id, "mobile_app_id": moved.mobile_app_id}
    with pytest.raises(Exception, match="These ids are those of shop~1 already"):
        make_app("other", **ids)
    ReplacedConnection.objects.update(over_at=timezone.now())
    make_app("other", **ids)
    with pytest.raises(CommandError, match="--mobile-app-id: These ids are those of other already"):
        replace("--org-id", str(moved.org_id), "--mobile-app-id", str(moved.mobile_app_id))


@pytest.mark.parametrize(
    "command",
    [
        ("replace_connection", "--endpoint", "public-usa.mkt.dynamics.com", *TOKEN),
        ("create_key", "--kind", "mobile"),
    ],
)
def test_nothing_new_is_done_under_a_replaced_connection(moved: MobileApp, command: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="shop~1 is a connection that was replaced"):
        run(*command, "--app", "shop~1")


def test_an_old_api_token_that_cannot_be_read_has_to_be_given_again_first(app: MobileApp) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE registry_mobileapp SET api_token = 'rubbish'")
    with pytest.raises(CommandError, match="set_api_token first"):
        replace("--mobile-app-id", str(uuid.uuid4()))


def test_only_a_replaced_connection_with_something_left_is_abandoned_and_only_with_a_note(moved: MobileApp) -> None:
    with pytest.raises(CommandError, match="--app: shop is in use"):
        run("abandon_connection", "--app", "shop", "--note", "x")
    with pytest.raises(CommandError, match="--note: Say why"):
        run("abandon_connection", "--app", "shop~1", "--note", " ")
    ReplacedConnection.objects.update(over_at=timezone.now())
    with pytest.raises(CommandError, match="Nothing is left under shop~1"):
        run("abandon_connection", "--app", "shop~1", "--note", "x")


def test_nobody_is_warned_of_users_under_a_replaced_connection(make_app: Callable[..., MobileApp]) -> None:
    make_app(identity="jwt")
    replace("--mobile-app-id", str(uuid.uuid4()))
    assert list(identity_warnings()) == ["shop"]


def test_the_admin_does_not_edit_what_registrations_were_made_under(admin_client: Client, app: MobileApp) -> None:
    page = reverse("admin:registry_mobileapp_change", args=[app.pk])
    form = admin_client.get(page).context["adminform"].form
    ids = {"org_id": uuid.uuid4(), "mobile_app_id": uuid.uuid4(), "endpoint": "https://other.mkt.dynamics.com"}
    assert admin_client.post(page, {**as_posted(form), **ids, "name": "Contoso"}).status_code == 302
    now = MobileApp.objects.get()
    assert (now.org_id, now.mobile_app_id, now.endpoint) == (app.org_id, app.mobile_app_id, app.endpoint)
    assert now.name == "Contoso"


def test_the_admin_shows_it_read_only_with_what_is_left(moved: MobileApp) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("olga", password="x"))
    listed = client.get("/admin/registry/replacedconnection/").content.decode()
    assert "shop~1" in listed
    assert "0 registrations, 0 events" in listed
    old = ReplacedConnection.objects.get()
    page = client.get(f"/admin/registry/replacedconnection/{old.pk}/change/").content.decode()
    assert str(moved.mobile_app_id) in page
    assert "an-api-token" not in page
    assert 'name="_save"' not in page
    assert "shop~1" not in client.get("/admin/registry/mobileapp/").content.decode()
    app_page = client.get(f"/admin/registry/mobileapp/{moved.pk}/change/").content.decode()
    assert 'name="_save"' in app_page
    assert "connection_no" not in app_page
