"""Pages in a real browser, under the content security policy."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.extra.conftest import program
from tests.web import web_server

pytestmark = pytest.mark.extra
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--virtual-time-budget=10000"]


def look(url: str, profile: Path) -> tuple[str, list[str]]:
    """The page as the browser has it in the end, and what it complains of."""
    browser = program("chromium", "chromium")
    command = [browser, *OPTIONS, f"--user-data-dir={profile}", "--dump-dom", url]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return run.stdout, re.findall(r".*CONSOLE.*", run.stderr)


@pytest.mark.django_db(transaction=True)
def test_the_api_s_description_can_be_read(tmp_path: Path) -> None:
    with web_server(tmp_path / "web.log") as url:
        page, complaints = look(f"{url}/api/docs", tmp_path / "profile")
    assert complaints == []
    assert "tokenhub ingest API" in page
    for path in ("/devices", "/users/", "/events", "/erasures/"):
        assert f"/api/v1{path}"[:-1] in page.replace("\u200b", "").replace("<wbr>", "")


@pytest.mark.django_db(transaction=True)
def test_the_admin_s_pages_need_nothing_from_elsewhere(tmp_path: Path) -> None:
    with web_server(tmp_path / "web.log") as url:
        page, complaints = look(f"{url}/admin/login/", tmp_path / "profile")
    assert [line for line in complaints if "favicon" not in line] == []
    assert "id_login" in page
