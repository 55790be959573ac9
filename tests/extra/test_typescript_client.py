"""The TypeScript client, and the snippets of its guide, against the running server."""

import fcntl
import os
import re
import subprocess
from pathlib import Path

import pytest

from registry.models import Device, InteractionEvent, MobileApp, TokenIssuer
from registry.services.keys import create_key
from registry.states import Identity
from tests.extra.conftest import program
from tests.web import ROOT, web_server

pytestmark = pytest.mark.extra
CLIENT = ROOT / "clients" / "typescript"
GUIDE = ROOT / "docs" / "mobile" / "react-native.md"
SECRET = "a-shared-secret-of-more-than-32-bytes"


@pytest.fixture(scope="module")
def npm() -> str:
    """npm, with what the client's lock file names installed: here too, where `make test-extra` did not do it before."""
    npm, make = program("npm", "nodejs npm"), program("make", "make")
    with (CLIENT / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests of this file may run in two processes
        subprocess.run([make, "--silent", "clients/typescript/node_modules/.installed"], cwd=ROOT, check=True)
    return npm


@pytest.mark.django_db(transaction=True)
def test_the_client_speaks_with_the_server(npm: str, app: MobileApp, tmp_path: Path) -> None:
    MobileApp.objects.update(identity=Identity.JWT)
    TokenIssuer.objects.create(
        app=app, issuer="https://login.example.com", audience="shop", secret=SECRET, algorithms=["HS256"]
    )
    keys = {kind: create_key(app=app, kind=kind) for kind in ("mobile", "server")}
    log = tmp_path / "web.log"
    with web_server(log) as url:
        env = os.environ | {
            "TOKENHUB_URL": url,
            "TOKENHUB_MOBILE_KEY": keys["mobile"],
            "TOKENHUB_SERVER_KEY": keys["server"],
            "TOKENHUB_JWT_SECRET": SECRET,
        }
        command = [npm, "test", "--prefix", str(CLIENT)]
        run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    print(run.stdout, run.stderr, log.read_text()[-3000:])  # noqa: T201 shown where it fails
    assert run.returncode == 0
    # What it says it did is there.
    assert InteractionEvent.objects.filter(state="ready", message_id__gt="").count() == 121
    assert set(Device.objects.filter(user=None).values_list("user", flat=True)) == {None}
    assert Device.objects.filter(user__external_id="bert").count() == 1


@pytest.mark.usefixtures("npm")
def test_the_guide_s_code_is_code(tmp_path: Path) -> None:
    tsc = CLIENT / "node_modules" / ".bin" / "tsc"
    blocks = re.findall(r"```ts\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert blocks
    (tmp_path / "guide.ts").write_text("\n".join(blocks))
    (tmp_path / "libraries.d.ts").write_text((Path(__file__).parent / "libraries.d.ts").read_text())
    options = ["--noEmit", "--strict", "--target", "ES2022", "--module", "ESNext", "--moduleResolution", "bundler"]
    options += ["--skipLibCheck", "--lib", "ES2022,DOM"]
    # Built here, as it would be installed: what another test builds may not be there yet.
    package = tmp_path / "node_modules" / "tokenhub-client"
    package.mkdir(parents=True)
    (package / "package.json").write_text((CLIENT / "package.json").read_text())
    subprocess.run([str(tsc), "-p", str(CLIENT), "--outDir", str(package / "dist")], check=True)
    run = subprocess.run(
        [str(tsc), *options, "guide.ts", "libraries.d.ts"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout
