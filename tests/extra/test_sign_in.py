"""Signing in at a browser: the first time sets up the second factor, the second time asks for it."""

import re
import time
from pathlib import Path

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.core.cache import cache
from playwright.sync_api import Page

from tests.extra.browser import chromium
from tests.people import staff
from tests.web import web_server

pytestmark = [pytest.mark.extra, pytest.mark.django_db(transaction=True)]


def code_for(secret: str) -> str:
    newest = max(yield_hotp_counters_from_time())  # of those that are taken, the one that is taken for longest
    return str(format_hotp_value(hotp_value(secret, newest)))


def give_password(page: Page) -> None:
    page.locator("#id_login").fill("vera")
    page.locator("#id_password").fill("correct-horse-9")
    page.keyboard.press("Enter")


def test_a_second_factor_is_set_up_at_the_first_sign_in_and_asked_for_at_the_next(tmp_path: Path) -> None:
    cache.clear()
    staff("vera", "viewer")
    environment = {"TOKENHUB_SECOND_FACTOR": "true"}
    with web_server(tmp_path / "web.log", environment) as url:
        with chromium(url) as console:
            page = console.page
            page.goto(f"{url}/admin/registry/device/")
            give_password(page)
            page.locator("input[name=code]").wait_for()
            assert Authenticator.objects.count() == 0
            secret = page.locator("#authenticator_secret").input_value()
            page.locator("input[name=code]").fill(code_for(secret))
            page.keyboard.press("Enter")
            page.wait_for_url(re.compile(r"/admin/(?!.*(login|totp/activate))"))
        assert Authenticator.objects.filter(type="totp").count() == 1
        with chromium(url, theme="dark") as console:
            page = console.page
            page.goto(f"{url}/admin/registry/device/")
            give_password(page)
            page.locator("input[name=code]").wait_for()
            page.goto(f"{url}/admin/registry/device/")
            assert page.locator("#changelist").count() == 0, "the password alone brings nobody in"
            page.goto(f"{url}/admin/registry/device/")
            if page.locator("#id_password").count():
                give_password(page)
            page.locator("input[name=code]").fill("000000")
            page.keyboard.press("Enter")
            page.get_by_text("Incorrect code").wait_for()
            time.sleep(max(0.0, 30 - time.time() % 30))  # a code is good once
            page.locator("input[name=code]").fill(code_for(secret))
            page.keyboard.press("Enter")
            page.locator("#changelist").wait_for()
