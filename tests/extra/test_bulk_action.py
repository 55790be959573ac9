"""A bulk action as somebody at a browser has it: ticked, confirmed, watched, over; by the keyboard, and on a phone."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page

from registry.models import BulkJob, Device, MobileApp
from registry.states import BulkState
from sync.steps import bulk
from tests.conftest import Api
from tests.extra.browser import DESK, PHONE, chromium
from tests.web import web_server

pytestmark = [pytest.mark.extra, pytest.mark.django_db(transaction=True)]
PHONES = 60  # a page and some more


@pytest.fixture
def chief() -> User:
    return User.objects.create_superuser("olga", password="correct-horse-9")


@pytest.fixture
def fleet(app: MobileApp, server: Api) -> None:
    for number in range(PHONES):
        server.launch(installation_id=f"phone-{number}", token=f"token-{number}")


def choose(page: Page, action: str) -> None:
    page.get_by_label("Select action to run").select_option(label=action)
    page.get_by_role("button", name="Run").click()


def test_all_rows_of_a_list_are_changed_while_one_looks(
    tmp_path: Path, chief: User, fleet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 20)
    with web_server(tmp_path / "web.log") as url, chromium(url, DESK) as console:
        console.sign_in(chief)
        page = console.open("/admin/registry/device/")
        assert "no others" not in page.content()
        page.locator("#action-toggle").check()
        assert console.barriers() == []
        page.get_by_text("Select all that the list shows").click()
        choose(page, "Retire and clean up")
        assert "all devices" in page.locator("main, #content").first.inner_text()
        page.get_by_role("button", name="Retire and clean up").click()
        progress = page.locator("#progress")
        assert "waits for a worker" in progress.inner_text().lower()
        bulk.run_batch()
        progress.get_by_text("20 of 60").wait_for()
        assert page.locator("progress").get_attribute("value") == "33"
        while bulk.run_batch():
            pass
        progress.get_by_text("60 of 60", exact=True).wait_for()
        page.get_by_role("button", name="Stop").wait_for(state="detached")
    assert BulkJob.objects.get().state == BulkState.DONE
    assert not Device.objects.filter(retired_at__isnull=True).exists()


def test_it_is_asked_for_and_stopped_by_the_keyboard_on_a_phone(tmp_path: Path, chief: User, fleet: None) -> None:
    with web_server(tmp_path / "web.log") as url, chromium(url, PHONE, "dark") as console:
        console.sign_in(chief)
        page = console.open("/admin/registry/device/")
        page.locator("input.action-select").first.focus()
        page.keyboard.press("Space")
        page.get_by_label("Select action to run").focus()
        page.keyboard.type("Retire")
        page.get_by_role("button", name="Run").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Retire and clean up").focus()
        assert console.overflow() <= 0
        assert console.barriers() == []
        page.keyboard.press("Enter")
        page.locator("#progress").wait_for()
        assert console.overflow() <= 0
        assert console.barriers() == []
        page.get_by_role("button", name="Stop").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Stopped by olga").wait_for()
    assert BulkJob.objects.get().state == BulkState.STOPPED
