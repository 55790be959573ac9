"""The OpenAPI document is what the code says, and the server does what it says."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import jwt
import pytest
from django.core.management import call_command
from django.test import Client

from registry.api.docs import OPENAPI
from registry.models import Device, InteractionEvent, MobileApp, MobileUser, TokenIssuer
from registry.services import dropin
from registry.services.keys import create_key
from registry.states import Identity, Platform
from tests.web import ROOT, web_server

SECRET = "a-shared-secret-of-more-than-32-bytes"
DROP_IN_TOKEN = "dQw4w9WgXcQ_-abcdefghi:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("CONTRACT_EXAMPLES", "6")


def test_the_kept_document_is_what_the_code_says(tmp_path: Path) -> None:
    written = tmp_path / "openapi.yaml"
    call_command("spectacular", file=str(written), validate=True, fail_on_warn=True)
    assert OPENAPI.read_text() == written.read_text(), "make openapi, and look at the difference"


def test_the_document_is_served() -> None:
    answer = Client().get("/api/openapi.yaml")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/yaml; charset=utf-8")
    assert answer.content == OPENAPI.read_bytes()


@pytest.mark.django_db(transaction=True)
def test_the_server_does_what_the_document_says_to_a_server(make_app: Callable[..., MobileApp], tmp_path: Path) -> None:
    app = make_app(identity=Identity.UNVERIFIED)
    schemathesis(tmp_path, "--exclude-tag", "drop-in", key=create_key(app=app, kind="server"))


@pytest.mark.django_db(transaction=True)
def test_the_server_does_what_the_document_says_to_a_phone(make_app: Callable[..., MobileApp], tmp_path: Path) -> None:
    """Of an app as apps begin: its users are named by signed tokens, its installations are secured."""
    app = make_app(identity=Identity.JWT)
    issuer = TokenIssuer(app=app, issuer="https://login.example.com", audience="shop", secret=SECRET)
    issuer.algorithms = ["HS256"]
    issuer.save()
    claims = {"iss": issuer.issuer, "aud": issuer.audience, "sub": "anna", "exp": int(time.time()) + 3600}
    user_token = jwt.encode(claims, SECRET, "HS256")
    environment = {"CONTRACT_USER_TOKEN": user_token, **drop_in_environment(app)}
    # Its drop-in paths cannot be switched on; the device of an event's token would be nobody's.
    options = ("--exclude-operation-id", "drop_in_event")
    key = create_key(app=app, kind="mobile")
    brief = IN_BRIEF.format(which='include-tag = "drop-in"')
    schemathesis(tmp_path, *options, key=key, environment=environment, config=brief)
    assert MobileUser.objects.filter(external_id="anna").exists()
    assert Device.objects.filter(secret_shown=True).exists()


@pytest.mark.django_db(transaction=True)
def test_the_server_does_what_the_document_says_to_who_has_no_key(
    make_app: Callable[..., MobileApp], tmp_path: Path
) -> None:
    """Drop-in paths are proven by the ApiToken in the body; everything else is refused."""
    app = make_app(drop_in=True)
    dropin.register(app, uuid.uuid4(), Platform.ANDROID, DROP_IN_TOKEN)
    # Who is refused makes nothing that a second step could use.
    brief = IN_BRIEF.format(which='exclude-tag = "drop-in"') + "[phases.stateful]\nmax-steps = 2\n"
    schemathesis(tmp_path, environment=drop_in_environment(app), config=brief)
    assert Device.objects.count() > 1
    assert InteractionEvent.objects.exists()


def drop_in_environment(app: MobileApp) -> dict[str, str]:
    return {
        "CONTRACT_ORG_ID": str(app.org_id),
        "CONTRACT_MOBILE_APP_ID": str(app.mobile_app_id),
        "CONTRACT_API_TOKEN": app.api_token,
        "CONTRACT_DEVICE_TOKEN": DROP_IN_TOKEN,
    }


# Of operations that refuse everything: two examples are enough.
IN_BRIEF = """
[[operations]]
{which}
generation.max-examples = 2
phases.coverage.enabled = false
"""


def schemathesis(
    folder: Path,
    *options: str,
    key: str = "",
    environment: Mapping[str, str] | None = None,
    config: str = "",
) -> None:
    """Run it against the web server; no finding is allowed.

    The environment is that of tests.contract.hooks, `config` what schemathesis.toml does not say.
    """
    log, file = folder / "web.log", folder / "schemathesis.toml"
    file.write_text(CONFIG.read_text() + config)
    with web_server(log, {"TOKENHUB_LIMIT_REFUSED": "1000000"}) as url:
        command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(file), "run"]
        command += [f"{url}/api/openapi.yaml", "--url", url, "--max-examples", EXAMPLES, "--seed", "1", *options]
        if key:
            command += ["--header", f"Authorization: Bearer {key}"]
        env = os.environ | {
            "SCHEMATHESIS_HOOKS": "tests.contract.hooks",
            "PYTHONPATH": str(ROOT),
            **(environment or {}),
        }
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=folder)
    print(run.stdout, run.stderr, log.read_text()[-5000:])  # noqa: T201 shown where it fails
    assert run.returncode == 0
