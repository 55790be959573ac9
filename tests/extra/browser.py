"""The admin in Debian's Chromium, driven by Playwright; what the browser complains of fails the test that uses it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from unittest import mock

from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from playwright.sync_api import Page, sync_playwright

from tests.extra.conftest import program

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync"]
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
# Django's own widgets, Select2 and the two boxes of permissions: their inputs have no names.
WIDGETS = [[".select2-container"], [".selector"]]
type Theme = Literal["light", "dark"]
DESK, PHONE = (1440, 900), (390, 844)


class Console:
    """The admin at `url` as somebody sees it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.complaints: list[str] = []
        page.set_default_timeout(30_000)
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{self.page.url}: {text}")

    def sign_in(self, user: User) -> None:
        """Without the form: what comes after it is tested."""
        client = Client()
        client.force_login(user)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        # The name that the server has for it, which speaks plain HTTP (tests/web.py), unlike the settings here.
        self.page.context.add_cookies([{"name": "tokenhub", "value": session, "url": self.url}])

    def open(self, path: str) -> Page:
        """A page of ours, loaded to its end. `path` begins with a slash."""
        answer = self.page.goto(self.url + path, wait_until="load")
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        self.page.wait_for_function("!document.querySelector('html[x-cloak]')")  # Alpine.js has taken the page over
        return self.page

    def overflow(self) -> int:
        """Pixels that the page is wider than the window: it scrolls sideways."""
        width = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return int(width)

    def barriers(self) -> list[str]:
        """What WCAG 2.2 (A and AA) finds in the way of people: contrast, names, what is too small to be hit."""
        found = Axe().run(self.page, {"exclude": WIDGETS}, WCAG).response["violations"]
        return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]

    def tab_to(self, name: str, key: str = "Tab") -> None:
        """By the keyboard alone, to what is called so."""
        for _ in range(80):
            self.page.keyboard.press(key)
            focus = self.page.locator(":focus")
            if focus.count() and name in (focus.get_attribute("aria-label") or focus.inner_text()):
                return
        raise AssertionError(f"the keyboard does not come to {name}")


@contextmanager
def chromium(url: str, size: tuple[int, int] = DESK, theme: Theme = "light") -> Iterator[Console]:
    """A browser with a fresh profile. Fails at its end if anything was complained of in its console."""
    # Playwright's loop runs in this thread: Django would take every query of the test for one in asynchronous code.
    with mock.patch.dict(os.environ, {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"}), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium", "chromium"), args=OPTIONS)
        try:
            context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
            console = Console(context.new_page(), url)
            yield console
        finally:
            browser.close()
            connections.close_all()  # made in the loop: nobody else would
    assert not console.complaints, "\n".join(console.complaints)


def shoot(console: Console, name: str) -> None:
    """Keep a picture of the page in the folder that TOKENHUB_SCREENSHOTS names, if it does."""
    if folder := os.environ.get("TOKENHUB_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        console.page.screenshot(path=f"{folder}/{name}.png", full_page=True)
