"""One sandbox for a test process, and the worker's steps run in the test's own process against it."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from registry.models import DataverseEnvironment, MobileApp
from registry.services.apps import create_app, create_dataverse
from registry.services.keys import create_key
from registry.states import Identity
from sandbox.admin_client import SandboxAdmin
from sync import connect, tasks
from tests.conftest import Api

API_TOKEN = "the-api-token-of-the-test"


@dataclass
class World:
    """Microsoft's side, one app of ours, and the means to let the workers work."""

    microsoft: SandboxAdmin
    app: MobileApp
    server: Api
    mobile: Api

    def contact(self, **columns: Any) -> str:
        """Add a contact to Dataverse; return its id."""
        return self.microsoft.add_records("contacts", [columns])[0]

    def held(self) -> set[tuple[str, str]]:
        """What CI-J holds of the app: (Dataverse id, token)."""
        return {(held.user_id, held.token) for held in self.microsoft.held(str(self.app.mobile_app_id))}

    def work_until(self, reached: Callable[[], object], timeout: float = 15.0) -> None:
        """Run all steps again and again until `reached` is true; fail after `timeout` seconds."""
        ends = time.monotonic() + timeout
        while not reached():
            assert time.monotonic() < ends, f"not reached; CI-J holds {self.held()}"
            self.work_once()
            time.sleep(0.05)

    def work_once(self) -> None:
        for name, step in tasks.STEPS.items():
            # The check would mend what tests are to find; hygiene comes by itself at long intervals only (tasks.tidy).
            if name not in ("check", "hygiene"):
                step()

    def work_for(self, seconds: float) -> None:
        """Run all steps for that long, and some rounds however slow this machine is: one may take all of the time."""
        ends, rounds = time.monotonic() + seconds, 0
        while time.monotonic() < ends or rounds < 4:
            self.work_once()
            time.sleep(0.05)
            rounds += 1


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAdmin]:
    folder = tmp_path_factory.mktemp("sandbox")
    command = [sys.executable, "-m", "sandbox", "--data", str(folder), "--port", "0"]
    with (folder / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parent.parent)
    try:
        ready = folder / "sandbox.json"
        ends = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None, (folder / "sandbox.log").read_text()
            assert time.monotonic() < ends
            time.sleep(0.05)
        with SandboxAdmin.from_file(ready) as admin:
            yield admin
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def world(
    sandbox: SandboxAdmin, transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    sandbox.reset()
    sandbox.settings(processing_delay=0.05, cleanup_delay=0.05)
    settings.TOKENHUB_CIJ_HOST_SUFFIXES = settings.TOKENHUB_DATAVERSE_HOST_SUFFIXES = ["localhost"]
    settings.TOKENHUB_CLEANUP_SETTLING = timedelta(seconds=0.3)
    settings.TOKENHUB_HANDOVER_PATIENCE = timedelta(seconds=1)
    monkeypatch.setenv("SSL_CERT_FILE", sandbox.ca_file)
    settings.TOKENHUB_FIRST_POLL = timedelta(seconds=0.2)
    connect.http.cache_clear()
    connect.credentials.cache_clear()
    credentials = json.loads((Path(sandbox.ca_file).parent / "sandbox.json").read_text())
    environment = create_dataverse(
        name="sandbox",
        url=sandbox.url,
        tenant=credentials["tenant"],
        client_id=credentials["client_id"],
        client_secret=credentials["client_secret"],
        authority=sandbox.url,
    )
    yield make_world(sandbox, environment)
    connect.http().close()
    connect.http.cache_clear()


def make_world(sandbox: SandboxAdmin, environment: DataverseEnvironment, slug: str = "shop", **fields: Any) -> World:
    """An app that both sides know, with its keys."""
    app = create_app(
        slug=slug,
        name=slug,
        org_id=uuid.uuid4(),
        mobile_app_id=uuid.uuid4(),
        endpoint=sandbox.url,
        api_token=API_TOKEN,
        dataverse=environment,
        **{"identity": Identity.BACKEND, **fields},
    )
    sandbox.put_app(str(app.org_id), str(app.mobile_app_id), API_TOKEN)
    return World(
        sandbox,
        app,
        server=Api(create_key(app=app, kind="server")),
        mobile=Api(create_key(app=app, kind="mobile")),
    )
