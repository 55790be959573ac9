"""A restore drill: dump, change, wipe, restore, reconcile, until tables and CI-J agree again."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from registry.models import Device, Reconciliation, Registration
from registry.services import reconcile
from registry.services.reconcile import Standing, begin, mark_batch, standing
from sandbox.demo.compare import handovers
from sync import connect
from sync.steps.push import pair
from tests.registry.test_commands import run
from tests.sandbox_process import World
from tests.web import ROOT
from tokenhub.embedded.postgres import program

USERS = ("anna", "bert", "cleo", "dora", "emil")


class Backup:
    """pg_dump and pg_restore on the test's own database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._url = f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{connection.settings_dict['NAME']}"

    def dump(self) -> None:
        self._run("pg_dump", "--format=custom", f"--file={self._path}", self._url)

    def restore(self) -> None:
        """Wipe everything, and bring it back."""
        connection.close()
        self._run("psql", "--quiet", "--command=DROP SCHEMA public CASCADE; CREATE SCHEMA public", self._url)
        self._run("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={self._url}", str(self._path))

    @contextmanager
    def beside(self) -> Iterator[None]:
        """A copy in a database beside the real one."""
        copy = f"{self._url}_drill"
        self._run("psql", "--quiet", f"--command=CREATE DATABASE {copy.rpartition('/')[2]}", self._url)
        try:
            self._run("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={copy}", str(self._path))
            yield
        finally:
            self._run("psql", "--quiet", f"--command=DROP DATABASE {copy.rpartition('/')[2]}", self._url)

    def _run(self, tool: str, *words: str) -> None:
        subprocess.run([program(tool), *words], check=True, capture_output=True, text=True)


@pytest.fixture
def backup(world: World, tmp_path: Path) -> Iterator[Backup]:
    made = Backup(tmp_path / "backup.dump")
    yield made
    connection.close()


@pytest.fixture
def contacts(world: World) -> dict[str, str]:
    return {user: world.contact(emailaddress1=f"{user}@example.com") for user in USERS}


def launch(world: World, phone: str, token: str, user: str) -> None:
    named = {"id": user, "email": f"{user}@example.com"}
    assert world.server.launch(installation_id=phone, token=token, user=named).status_code in (200, 201)


def believed() -> set[tuple[str, str]]:
    rows = Registration.objects.filter(desired=True, state="registered").values_list("dataverse_id", "token")
    return {(str(dataverse_id), token) for dataverse_id, token in rows}


def last_seen() -> dict[str, datetime]:
    return dict(Device.objects.values_list("installation_id", "last_seen"))


def reconciled(world: World, *, resume: bool = False) -> Standing:
    """Mark everything, and let the workers work until they are done."""
    begin(world.app, resume=resume)
    while mark_batch(world.app):
        pass
    world.work_until(lambda: standing(world.app).is_done)
    world.microsoft.wait_until_idle()  # CI-J works a cleanup off after it has accepted it
    return standing(world.app)


def test_after_a_restore_and_the_phones_next_launches_both_sides_agree(
    world: World, backup: Backup, contacts: dict[str, str]
) -> None:
    for user in USERS[:4]:
        launch(world, f"{user}s-phone", f"t-{user}", user)
    world.work_until(lambda: len(world.held()) == 4)
    assert world.mobile.post("devices/doras-phone/sign-out").status_code == 200
    world.work_until(lambda: len(world.held()) == 3 and believed() == world.held())
    reconciled(world)  # after an earlier restore: that it is over must not be believed after this one
    backup.dump()

    # What the backup does not know of: a hand-over, a new token, a sign-out, a sign-in again, a new phone.
    def later() -> None:
        launch(world, "annas-phone", "t-anna", "emil")
        launch(world, "berts-phone", "t-bert-2", "bert")
        world.mobile.post("devices/cleos-phone/sign-out")
        launch(world, "doras-phone", "t-dora", "dora")
        launch(world, "emils-tablet", "t-tablet", "emil")

    later()
    now = {
        (contacts["emil"], "t-anna"),
        (contacts["bert"], "t-bert-2"),
        (contacts["dora"], "t-dora"),
        (contacts["emil"], "t-tablet"),
    }
    world.work_until(lambda: world.held() == now and believed() == now)

    backup.restore()
    assert believed() != now
    at = reconciled(world)
    # Nobody is registered again who may have handed their phone on; what was signed out is cleaned up to be sure.
    assert world.held() == now - {(contacts["dora"], "t-dora")}
    assert (at.cleanups, at.sends, at.waiting_for_phones) == (1, 0, 3)
    later()
    world.work_until(lambda: world.held() == now and believed() == now)
    assert standing(world.app).waiting_for_phones == 0
    assert handovers(world.microsoft.effects()).violations == []


def test_what_is_held_as_before_is_proven_when_its_phone_launches(
    world: World, backup: Backup, contacts: dict[str, str]
) -> None:
    launch(world, "annas-phone", "t-anna", "anna")
    launch(world, "berts-phone", "t-bert", "bert")
    world.work_until(lambda: len(world.held()) == 2 and len(believed()) == 2)
    backup.dump()
    backup.restore()
    seen = last_seen()
    assert reconciled(world).waiting_for_phones == 2
    assert last_seen() == seen
    sent = len(world.microsoft.calls("register_batch"))
    launch(world, "annas-phone", "t-anna", "anna")
    world.work_until(lambda: len(world.microsoft.calls("register_batch")) > sent and len(believed()) == 2)
    assert len(world.microsoft.calls("register_batch")) == sent + 1
    assert standing(world.app).waiting_for_phones == 1
    assert {phone for phone, at in last_seen().items() if at != seen[phone]} == {"annas-phone"}
    assert world.microsoft.effects("register")[-1].reason == "DuplicateExists"
    # Once is enough.
    Device.objects.update(last_seen=Device.objects.latest("last_seen").last_seen - timedelta(days=1))
    launch(world, "annas-phone", "t-anna", "anna")
    world.work_for(0.5)
    assert len(world.microsoft.calls("register_batch")) == sent + 1


def test_where_cij_came_back_from_a_backup_everything_is_sent_at_once(
    world: World, contacts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "BATCH", 2)
    for user in USERS:
        launch(world, f"{user}s-phone", f"t-{user}", user)
    world.work_until(lambda: len(world.held()) == 5 and len(believed()) == 5)
    held = world.held()
    lost = list(Registration.objects.filter(token__in=["t-anna", "t-bert", "t-cleo"]))
    connect.cij(world.app).clean_up([pair(row) for row in lost])
    world.microsoft.wait_until_idle()
    assert len(world.held()) == 2
    assert reconciled(world).sends == 0
    begin(world.app, everything=True, resume=True)
    assert mark_batch(world.app)  # stopped here, and gone on with
    assert standing(world.app).sends == 2
    at = reconciled(world, resume=True)
    assert (at.sends, at.sends_left, at.waiting_for_phones) == (5, 0, 0)
    assert world.held() == held == believed()


def test_the_command_says_how_far_it_is(world: World, contacts: dict[str, str]) -> None:
    launch(world, "annas-phone", "t-anna", "anna")
    world.work_until(lambda: len(believed()) == 1)
    assert run("reconcile", "--app", "shop") == (
        "shop: 0 of 0 cleaned up once more, 0 of 0 sent again, 1 wait for their phones\n"
        "Done. What waits for its phone is proven when that launches; nothing has to run for it."
    )
    assert run("reconcile", "--no-wait", "--everything") == (
        "shop: 0 of 0 cleaned up once more, 0 of 1 sent again, 0 wait for their phones"
    )
    with pytest.raises(CommandError, match="There is no app 'shops'"):
        run("reconcile", "--app", "shops")


def test_a_drill_looks_at_a_copy_and_touches_nothing_else(
    world: World, backup: Backup, contacts: dict[str, str]
) -> None:
    launch(world, "annas-phone", "t-anna", "anna")
    world.work_until(lambda: len(believed()) == 1)
    backup.dump()
    calls = len(world.microsoft.calls())
    url = f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{connection.settings_dict['NAME']}"
    given = os.environ | {"DATABASE_URL": url, "TOKENHUB_ALLOWED_HOSTS": "x"}
    with backup.beside():
        argv = [str(ROOT / "deploy/run"), "drill"]
        done = subprocess.run(argv, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "shop: 1 active devices" in done.stdout
    assert "Key 1 opens 2 values." in done.stdout
    assert "shop: 0 of 0 cleaned up once more, 0 of 0 sent again, 1 wait for their phones" in done.stdout
    assert "The copy is good." in done.stdout
    assert not Reconciliation.objects.exists()
    assert len(world.microsoft.calls()) == calls


def test_a_drill_refuses_the_real_database_and_a_copy_that_is_of_no_use(
    world: World, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    with pytest.raises(CommandError, match="is not a copy"):
        call_command("drill")
    monkeypatch.setitem(connection.settings_dict, "NAME", "tokenhub_drill")
    settings.TOKENHUB_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="2 of 2 values are opened by none"):
        call_command("drill")
    world.app.delete()
    with pytest.raises(CommandError, match="was anything restored into it"):
        call_command("drill")
