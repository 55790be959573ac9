"""Everything is restarted, one process after the other, behind the example's nginx and under load: `make rolling`.

Phones post without pause: new ones, new tokens, hand-overs. No request may fail, and CI-J holds what they said last.
"""

import os
import random
import signal
import ssl
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import trustme

from registry.models import Registration
from registry.services.keys import create_key
from sandbox.demo.compare import handovers
from tests.extra.conftest import program
from tests.layout import ROOT, Layout, forget_nudges, layout
from tests.sandbox_process import World
from tokenhub.embedded import ports
from tokenhub.embedded.processes import guarded, spawn, stop, wait_ready

pytestmark = pytest.mark.extra
ROUNDS = 2  # each process is restarted so often
PHONES = 6  # at a time, each with users of its own
ENVIRONMENT = {"TOKENHUB_CIJ_HOST_SUFFIXES": "localhost", "TOKENHUB_DATAVERSE_HOST_SUFFIXES": "localhost"}
PARTS = ("web-1", "web-2", "worker-1", "worker-2", "urgent-1", "urgent-2", "beat")


@dataclass
class Load:
    """What phones post, and what follows from it. Each thread has phones, tokens and users that no other has."""

    url: str
    key: str
    tls: ssl.SSLContext
    statuses: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> dict[str, str]:
        """Post until it is over; the token of each user's only phone at the end."""
        chance = random.Random(number)  # noqa: S311 it says who posts what, and keeps no secret
        holders: dict[str, str] = {}  # phone: user
        tokens: dict[str, str] = {}  # phone: token
        with httpx2.Client(verify=self.tls, trust_env=False, timeout=60) as client:
            posts = 0
            while not self.over.is_set():
                posts += 1
                phone = f"phone-{number}-{chance.randrange(40)}"
                if phone not in holders or chance.random() < 0.1:
                    holders[phone] = f"user-{number}-{chance.randrange(80)}"
                if phone not in tokens or chance.random() < 0.1:
                    tokens[phone] = f"token-{number}-{posts}"
                self._post(client, phone, tokens[phone], holders[phone])
        return {tokens[phone]: user for phone, user in holders.items()}

    def _post(self, client: httpx2.Client, phone: str, token: str, user: str) -> None:
        body = {
            "installation_id": phone,
            "platform": "android",
            "token": token,
            "user": {"id": user, "email": f"{user}@example.com"},
        }
        began = time.monotonic()
        try:
            answer = client.post(
                f"{self.url}/api/v1/devices",
                json=body,
                headers={"Authorization": f"Bearer {self.key}", "Host": "push.example.com"},
            )
            self.statuses[str(answer.status_code)] += 1
        except httpx2.TransportError as error:
            self.statuses[type(error).__name__] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def nginx(folder: Path, running: Layout, port: int) -> "subprocess.Popen[bytes]":
    """The example's proxy as it is, but for addresses, files and the user."""
    text = (ROOT / "deploy" / "proxy" / "nginx.conf").read_text()
    for place, url in zip(("127.0.0.1:8000", "127.0.0.1:8001"), running.urls(), strict=True):
        text = text.replace(place, url.removeprefix("http://"))
    text = text.replace("listen 443", f"listen 127.0.0.1:{port}").replace("listen 80;", "listen 127.0.0.1:1;")
    text = text.replace("listen 127.0.0.1:1;", f"listen unix:{folder}/http.sock;")
    for name in ("fullchain.pem", "privkey.pem"):
        text = text.replace(f"/etc/tokenhub/tls/{name}", f"{folder}/tls.pem")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf = folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    conf.write_text(
        f"{user}pid {folder}/nginx.pid;\ndaemon off;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{text}}}\n"
    )
    command = [program("nginx", "nginx-light"), "-e", f"{folder}/nginx.log", "-p", str(folder), "-c", str(conf)]
    with (folder / "nginx.out").open("wb") as output:
        return spawn(guarded(command), output=output)


def test_nothing_is_lost_while_everything_is_restarted(world: World, tls: ssl.SSLContext, tmp_path: Path) -> None:
    forget_nudges()  # that other tests have left
    contacts = {
        f"user-{number}-{user}": world.contact(emailaddress1=f"user-{number}-{user}@example.com")
        for number in range(PHONES)
        for user in range(80)
    }
    world.microsoft.settings(processing_delay=0.3, cleanup_delay=0.3)
    environment = ENVIRONMENT | {"SSL_CERT_FILE": world.microsoft.ca_file}
    port = ports.choose()
    load = Load(f"https://localhost:{port}", create_key(app=world.app, kind="server"), tls)
    with layout(tmp_path, *PARTS, environment=environment) as running, ThreadPoolExecutor(PHONES) as pool:
        proxy = nginx(tmp_path, running, port)
        try:
            wait_ready(proxy, (tmp_path / "nginx.pid").exists, name="nginx")
            living = [pool.submit(load.run, number) for number in range(PHONES)]
            began = time.monotonic()
            try:
                time.sleep(3)
                for name in PARTS * ROUNDS:
                    assert running.parts[name].restart() == 0, name
                time.sleep(3)
            finally:
                load.over.set()
            lasted = time.monotonic() - began
            wanted = {(contacts[user], token) for one in living for token, user in one.result().items()}
            settled_in = settle(world, wanted)
        finally:
            stop(proxy, signal.SIGTERM, timeout=10)
        report(running, load, wanted, world.held(), f"in {lasted:.0f} s", f"{settled_in:.1f} s after the last post")
    assert set(load.statuses) <= {"200", "201"}, load.statuses
    assert world.held() == wanted
    assert handovers(world.microsoft.effects()).violations == []


def settle(world: World, wanted: set[tuple[str, str]], seconds: float = 120.0) -> float:
    """Wait until CI-J holds what is wanted, and we know it; how long that took."""
    began = time.monotonic()
    while world.held() != wanted or Registration.objects.filter(desired=True).exclude(state="registered").exists():
        assert time.monotonic() - began < seconds, (
            f"missing {len(wanted - world.held())}, ghosts {len(world.held() - wanted)}"
        )
        time.sleep(0.2)
    return time.monotonic() - began


def report(
    running: Layout, load: Load, wanted: set[tuple[str, str]], held: set[tuple[str, str]], lasted: str, agreed: str
) -> None:
    """The numbers, for people: `make rolling` shows them."""
    failed = sum(count for status, count in load.statuses.items() if status not in ("200", "201"))
    print(  # noqa: T201
        f"\n{load.statuses.total()} requests {lasted}, failed {failed}, slowest {load.slowest:.2f} s; "
        f"{len(wanted)} registrations, lost {len(wanted - held)}, ghosts {len(held - wanted)}, agreed {agreed}"
    )
    for name, part in running.parts.items():
        times = ", ".join(f"{seconds:.1f}" for seconds in part.drained)
        print(f"  {name:9} restarted {len(part.drained)} times, ended in {times} s")  # noqa: T201
