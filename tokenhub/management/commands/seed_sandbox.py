"""`manage.py seed_sandbox`: the demo app, which points at a running sandbox. `up --sandbox` calls it at every start.

Whatever there is already is kept, above all the keys, which cannot be shown twice.
"""

import json
import secrets
import ssl
import uuid
from pathlib import Path
from typing import Any

import httpx2
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from registry.models import DataverseEnvironment, MobileApp
from registry.services import apps, keys
from registry.states import Identity
from tokenhub.embedded import state

SLUG = "demo"
ENVIRONMENT = "sandbox"
ADMIN = "admin"


class Command(BaseCommand):
    help = "Make or renew the demo app on a running sandbox, its keys and an admin user."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sandbox", type=Path, required=True, help="the sandbox.json of the running sandbox")
        parser.add_argument("--out", type=Path, required=True, help="where the keys are kept; read first if it exists")
        parser.add_argument("--url", required=True, help="where this server's API is")

    def handle(self, *args: Any, **options: Any) -> None:
        sandbox, out = options["sandbox"], options["out"]
        far_end = json.loads(sandbox.read_text())
        before = json.loads(out.read_text()) if out.exists() else {}
        with transaction.atomic():
            app = _app(far_end, _environment(far_end))
            seed = {
                "url": options["url"],
                "app": app.slug,
                "server_key": _key(app, "server", before.get("server_key")),
                "mobile_key": _key(app, "mobile", before.get("mobile_key")),
                "sandbox": str(sandbox),
                "admin": {"username": ADMIN, "password": _admin(before.get("admin", {}).get("password"))},
                "org_id": str(app.org_id),
                "mobile_app_id": str(app.mobile_app_id),
            }
            # Inside the transaction: keys that could not be written down must not exist.
            state.write_private(out, seed)
        _introduce(app, far_end)


def _environment(far_end: dict[str, str]) -> DataverseEnvironment:
    environment = DataverseEnvironment.objects.filter(name=ENVIRONMENT).first()
    address = {
        "url": far_end["url"],
        "tenant": far_end["tenant"],
        "client_id": far_end["client_id"],
        "client_secret": far_end["client_secret"],
        "authority": far_end["url"],
    }
    if environment is None:
        return apps.create_dataverse(name=ENVIRONMENT, **address)
    return _moved(environment, address)


def _app(far_end: dict[str, str], environment: DataverseEnvironment) -> MobileApp:
    app = MobileApp.objects.filter(slug=SLUG).first()
    if app is None:
        return apps.create_app(
            slug=SLUG,
            name="Demo app",
            org_id=uuid.uuid4(),
            mobile_app_id=uuid.uuid4(),
            endpoint=far_end["url"],
            api_token=secrets.token_urlsafe(32),
            dataverse=environment,
            # Users are named by the demo's server key: nobody signs tokens here.
            identity=Identity.BACKEND,
        )
    return _moved(app, {"endpoint": far_end["url"]})


def _moved[M: (DataverseEnvironment, MobileApp)](row: M, address: dict[str, str]) -> M:
    """Follow the sandbox to another port.

    Past the services, which rightly refuse to move an app or an environment in use to somebody else's server: this is
    the same server, with the same memory, at another address.
    """
    changed = {name: value for name, value in address.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    if changed:
        row.save(update_fields=list(changed))
    return row


def _key(app: MobileApp, kind: str, before: str | None) -> str:
    found = keys.find_key(before) if before else None
    return before if before and found and found.app_id == app.pk else keys.create_key(app=app, kind=kind)


def _admin(before: str | None) -> str | None:
    """The admin's password, if this command made the admin; an admin that somebody else made is left alone."""
    users = get_user_model().objects
    if users.filter(username=ADMIN).exists():
        return before
    password = secrets.token_urlsafe(12)
    users.create_superuser(ADMIN, password=password)
    return password


def _introduce(app: MobileApp, far_end: dict[str, str]) -> None:
    """Tell the sandbox of the app, as Microsoft's side would know it from its own settings page."""
    known = {"org_id": str(app.org_id), "mobile_app_id": str(app.mobile_app_id), "api_token": app.api_token}
    try:
        httpx2.put(
            f"{far_end['url']}/_sandbox/apps",
            json=[known],
            headers={"Authorization": f"Bearer {far_end['admin_token']}"},
            verify=ssl.create_default_context(cafile=far_end["ca_file"]),
            trust_env=False,
            timeout=10,
        ).raise_for_status()
    except httpx2.HTTPError as error:
        raise CommandError(f"The sandbox at {far_end['url']} does not take the demo app: {error}") from None
