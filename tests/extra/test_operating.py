"""What people do in the admin, in a real browser, until the sandbox holds what they wanted."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from registry.models import ApiKey, MobileApp
from registry.services.roles import make_roles
from tests.extra.browser import DESK, PHONE, Console, Theme, chromium, shoot
from tests.people import staff
from tests.sandbox_process import API_TOKEN, World
from tests.web import web_server

pytestmark = [pytest.mark.extra, pytest.mark.django_db(transaction=True)]
SCREENS = pytest.mark.parametrize(
    ("size", "theme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk-light", "phone-dark"]
)


@pytest.fixture
def olga(world: World) -> User:
    make_roles()
    return staff("olga", "administrator")


@contextmanager
def console(tmp_path: Path, somebody: User, size: tuple[int, int] = DESK, theme: Theme = "light") -> Iterator[Console]:
    """The admin of a server that may talk to the sandbox, with somebody signed in."""
    allowed = {"TOKENHUB_CIJ_HOST_SUFFIXES": "localhost", "TOKENHUB_DATAVERSE_HOST_SUFFIXES": "localhost"}
    with web_server(tmp_path / "web.log", allowed, workers=1) as url, chromium(url, size, theme) as opened:
        opened.sign_in(somebody)
        yield opened


def fits(opened: Console, name: str, size: tuple[int, int], theme: Theme) -> None:
    shoot(opened, f"{name}-{theme}-{size[0]}")
    assert opened.overflow() <= 0, name
    assert opened.barriers() == [], name


@SCREENS
def test_why_somebody_gets_no_push_is_explained(
    tmp_path: Path, world: World, olga: User, size: tuple[int, int], theme: Theme
) -> None:
    record = world.contact(emailaddress1="anna@example.com", fullname="Anna")
    anna = {"id": "anna", "email": "anna@example.com"}
    for number in (1, 2):
        world.server.launch(installation_id=f"phone-{number}", token=f"token-number-{number}", user=anna)
    world.work_until(lambda: len(world.held()) == 2)
    world.server.launch(installation_id="phone-1", token="token-number-3", user={"id": "bert"})
    world.work_until(lambda: world.held() == {(record, "token-number-2")})
    with console(tmp_path, olga, size, theme) as opened:
        page = opened.open("/admin/explain/")
        page.get_by_role("searchbox").focus()
        page.keyboard.type("anna@example.com")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=1 of 1 living device will receive a push")
        assert page.locator(".th-verdict.th-good").inner_text().count("Will receive") == 1
        fits(opened, "explain", size, theme)
        page.goto(opened.url + "/admin/explain/?q=phone-1")
        page.wait_for_selector("text=Changed hands: anna → bert.")
        timeline = page.locator(".th-timeline").inner_text()
        for told in (
            "First launch (Android)",
            "New push token",
            "CI-J confirmed the registration",
            "accepted to forget",
        ):
            assert told in timeline, told
        assert "token-number" not in page.content()
        fits(opened, "explain-handed-over", size, theme)


def test_an_ambiguous_user_is_resolved_until_the_right_record_is_registered(
    tmp_path: Path, world: World, olga: User
) -> None:
    ids = [world.contact(emailaddress1="anna@example.com", fullname=f"Anna {number}") for number in (1, 2)]
    world.server.launch(user={"id": "anna", "email": "anna@example.com"})
    world.work_until(lambda: world.server.state() == "ambiguous")
    with console(tmp_path, olga) as opened:
        page = opened.open("/admin/unresolved/")
        assert page.get_by_role("link", name="Open in Dynamics").count() == 2
        shoot(opened, "unresolved-light")
        chosen = page.locator(f"input[value='contact:{ids[1]}']")
        chosen.focus()
        page.keyboard.press("Space")
        assert chosen.is_checked()
        page.get_by_role("button", name="Save decisions").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Mapped: 1.")
        world.work_until(lambda: world.held() == {(ids[1], "token-1")})
        page.goto(opened.url + "/admin/explain/?q=anna")
        page.wait_for_selector("text=Will receive")
        assert "Chosen by olga." in page.inner_text("body")


@SCREENS
def test_the_work_list_fits(tmp_path: Path, world: World, olga: User, size: tuple[int, int], theme: Theme) -> None:
    for name in ("anna", "bert"):
        email = f"{name}@example.com"
        for number in (1, 2, 3):
            world.contact(emailaddress1=email, fullname=f"{name.title()} {number}", mobilephone="+4930123456")
        world.server.launch(installation_id=name, token=f"token-of-{name}", user={"id": name, "email": email})
    world.work_until(lambda: world.server.state("bert") == world.server.state("anna") == "ambiguous")
    with console(tmp_path, olga, size, theme) as opened:
        opened.open("/admin/unresolved/")
        fits(opened, "unresolved", size, theme)


def test_an_app_is_connected_with_a_wrong_and_then_the_right_token(tmp_path: Path, world: World, olga: User) -> None:
    org, app = str(uuid.uuid4()), str(uuid.uuid4())
    world.microsoft.put_app(org, app, API_TOKEN)
    tab = (
        f"Mobile App ID\n{app}\nOrganization ID\n{org}\nPublic endpoint\n{world.app.endpoint}\nAPI token\nwrong-token-1"
    )
    with console(tmp_path, olga) as opened:
        page = opened.open("/admin/apps/connect/")
        page.get_by_label("Developer information").fill(tab)
        page.get_by_role("button", name="Read it").click()
        page.wait_for_selector(f"input[value='{org}']")
        assert page.get_by_label("Mobile app id").input_value() == app
        page.get_by_label("Name", exact=True).fill("Contoso Bank")
        page.get_by_label("Short name").fill("bank")
        page.get_by_label("Public endpoint").fill(world.app.endpoint)
        page.get_by_role("button", name="Test connection").click()
        page.wait_for_selector("text=refuses the app")
        assert page.locator(".th-verdict.th-good").count() == 2  # Entra and Dataverse
        fits(opened, "connect-refused", DESK, "light")
        page.get_by_label("ApiToken").fill(API_TOKEN)
        page.get_by_role("button", name="Test connection").click()
        page.wait_for_selector("text=knows the app and takes its ApiToken")
        assert not MobileApp.objects.filter(slug="bank").exists()
        page.get_by_role("button", name="Connect the app").click()
        page.wait_for_selector("text=Contoso Bank is connected.")
        page.locator("summary", has_text="Make a key").click()
        page.get_by_role("button", name="Make the key").click()
        page.wait_for_selector("text=This is the only time")
        fits(opened, "app", DESK, "light")
    assert MobileApp.objects.get(slug="bank").api_token == API_TOKEN
    assert ApiKey.objects.filter(app__slug="bank").count() == 1


def test_an_app_is_paused_and_resumed_and_what_waited_is_sent(tmp_path: Path, world: World, olga: User) -> None:
    record = world.contact(emailaddress1="anna@example.com")
    with console(tmp_path, olga) as opened:
        page = opened.open("/admin/apps/of/shop/")
        page.locator("summary", has_text="Pause").first.focus()
        page.keyboard.press("Enter")
        page.get_by_label("Why").fill("the campaign was wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=By olga: the campaign was wrong.")
        shoot(opened, "app-paused-light")
        world.server.launch(user={"id": "anna", "email": "anna@example.com"})
        world.work_for(1)
        assert world.held() == set()
        page.goto(opened.url + "/admin/explain/?q=anna")
        page.wait_for_selector("text=This app is paused")
        page.goto(opened.url + "/admin/apps/of/shop/")
        page.get_by_role("button", name="Resume the app").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Nothing rests")
        world.work_until(lambda: world.held() == {(record, "token-1")})
