"""The two faces as servers of their own: what one does not serve is not there, and what it serves works."""

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from registry.models import MobileApp
from registry.services.keys import create_key
from tests.tokenhub.test_settings import EXTERNAL, SECRETS, check
from tests.web import ROOT, web_server

pytestmark = pytest.mark.django_db(transaction=True)

SHARED = ("/livez", "/readyz", "/api/openapi.yaml")
FOR_PAGES = ("/admin/login/", "/api/docs", "/static/admin/css/base.css")


def statuses(url: str, paths: tuple[str, ...]) -> set[int]:
    return {httpx2.get(url + path, trust_env=False, timeout=30).status_code for path in paths}


def test_the_api_alone_takes_launches_and_has_no_admin(app: MobileApp, tmp_path: Path) -> None:
    bearer = {"Authorization": f"Bearer {create_key(app=app, kind='server')}"}
    launch = {"installation_id": "phone-1", "platform": "android", "token": "token-1"}
    with web_server(tmp_path / "log", {"TOKENHUB_ROLE": "api", "TOKENHUB_LIMIT_SERVER_KEY": "1000"}, workers=1) as url:
        made = httpx2.post(f"{url}/api/v1/devices", json=launch, headers=bearer, trust_env=False, timeout=30)
        assert (made.status_code, made.json()["result"]) == (201, "created")
        assert "ratelimit" in made.headers
        assert "set-cookie" not in made.headers
        assert made.headers["x-content-type-options"] == "nosniff"
        assert statuses(url, SHARED) == {200}
        assert statuses(url, FOR_PAGES) == {404}
        # A probe comes by the pod's address; everybody else has to know the host's name.
        strange = [httpx2.get(url + path, headers={"Host": "10.1.2.3:8000"}, trust_env=False) for path in SHARED]
        assert [answer.status_code for answer in strange] == [200, 200, 400]


def test_the_admin_alone_has_its_pages_and_takes_no_launch(app: MobileApp, tmp_path: Path) -> None:
    bearer = {"Authorization": f"Bearer {create_key(app=app, kind='server')}"}
    with web_server(tmp_path / "log", {"TOKENHUB_ROLE": "admin"}, workers=1) as url:
        assert statuses(url, SHARED + FOR_PAGES) == {200}
        refused = httpx2.get(f"{url}/api/v1/devices/phone-1", headers=bearer, trust_env=False, timeout=30)
        assert refused.status_code == 404
        assert refused.json()["title"] == "Not Found"


def test_a_phones_post_goes_through_nothing_that_is_for_pages() -> None:
    env = {"PATH": os.environ["PATH"], **EXTERNAL, **SECRETS, "TOKENHUB_ROLE": "api", "TOKENHUB_ALLOWED_HOSTS": "x"}
    ask = "import django; django.setup(); from django.conf import settings; print(*settings.MIDDLEWARE, sep='\\n')"
    env["DJANGO_SETTINGS_MODULE"] = "tokenhub.settings"
    done = subprocess.run([sys.executable, "-c", ask], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "tokenhub.observe.Observe",
        "tokenhub.inside.Inside",
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "registry.api.limits.RateLimitHeaders",
    ]


@pytest.mark.parametrize("role", ["api", "admin", "all"])
def test_commands_run_in_every_role(role: str) -> None:
    result = check(**EXTERNAL, **SECRETS, TOKENHUB_ROLE=role, TOKENHUB_ALLOWED_HOSTS="x", TOKENHUB_LIMIT_ADDRESS="0")
    assert result.returncode == 0, result.stderr


def test_a_role_that_there_is_not_is_an_error() -> None:
    result = check(**EXTERNAL, **SECRETS, TOKENHUB_ROLE="apis")
    assert (result.returncode, result.stderr) == (1, "TOKENHUB_ROLE is 'apis'; it is one of api, admin, all.\n")
