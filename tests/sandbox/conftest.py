"""One sandbox for the run of a test process; every test starts with an empty one."""

import uuid
from collections.abc import Iterator

import httpx2
import pytest

from sandbox.admin_client import SandboxAdmin
from tests.sandbox.process import Push, Running, https


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("sandbox")) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="session")
def connected(running: Running) -> Iterator[tuple[SandboxAdmin, httpx2.Client]]:
    with running.admin() as admin, https(running.details) as client:
        yield admin, client


@pytest.fixture
def admin(connected: tuple[SandboxAdmin, httpx2.Client]) -> SandboxAdmin:
    connected[0].reset()
    connected[0].settings(processing_delay=0.05, cleanup_delay=0.05)
    return connected[0]


@pytest.fixture
def client(admin: SandboxAdmin, connected: tuple[SandboxAdmin, httpx2.Client]) -> httpx2.Client:
    return connected[1]


@pytest.fixture
def push(admin: SandboxAdmin, client: httpx2.Client) -> Push:
    made = Push(client, admin, org=str(uuid.uuid4()), app=str(uuid.uuid4()))
    admin.put_app(made.org, made.app, made.api_token)
    return made
