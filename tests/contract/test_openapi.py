"""The OpenAPI document is what the code says, and the server does what it says."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client

from registry.api.docs import OPENAPI
from registry.models import MobileApp
from registry.services.keys import create_key
from registry.states import Identity
from tests.web import ROOT, web_server

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
@pytest.mark.parametrize("kind", ["server", "mobile", "none"])
def test_the_server_does_what_the_document_says(kind: str, make_app: Callable[..., MobileApp], tmp_path: Path) -> None:
    app = make_app(identity=Identity.UNVERIFIED)
    # Nobody guesses an installation's secret: with them every call of a phone would end at 403.
    MobileApp.objects.update(installation_secrets=False)
    key = create_key(app=app, kind=kind) if kind != "none" else ""
    log = tmp_path / "web.log"
    with web_server(log) as url:
        config = Path(__file__).with_name("schemathesis.toml")
        command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(config), "run"]
        command += [f"{url}/api/openapi.yaml", "--url", url, "--max-examples", EXAMPLES, "--seed", "1"]
        if key:
            command += ["--header", f"Authorization: Bearer {key}"]
        env = os.environ | {"SCHEMATHESIS_HOOKS": "tests.contract.hooks", "PYTHONPATH": str(ROOT)}
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=tmp_path)
    print(run.stdout, run.stderr, log.read_text()[-5000:])  # noqa: T201 shown where it fails
    assert run.returncode == 0
