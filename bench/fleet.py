"""A fleet that tokenhub knows already: users, devices, mappings and registrations, loaded by COPY.

python -m bench.fleet --devices 100000    # migrates, loads, prints the app's keys as JSON
"""

import argparse
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg

NAMESPACE = uuid.UUID("5b2f5a1e-63b9-4a0e-9f3a-3f1f0a3f7c11")
ISSUER = {"iss": "https://login.example", "aud": "shop"}


def installation(number: int) -> str:
    """The installation id of the fleet's phone of that number, counted from 1."""
    return str(uuid.uuid5(NAMESPACE, f"installation {number}"))


def token(number: int, generation: int = 0) -> str:
    """Its push token, as long as FCM's are; a later generation is what it changes to."""
    digest = hashlib.sha512(f"{number}.{generation}".encode()).hexdigest()
    return f"f{digest[:21]}:APA91b{(digest + digest)[:134]}"


def launch(number: int, *, generation: int = 0, **more: Any) -> dict[str, Any]:
    """What the phone posts at every launch."""
    return {
        "installation_id": installation(number),
        "platform": "android",
        "token": token(number, generation),
        "user": {"id": f"user-{number}", "email": f"user-{number}@example.com"},
        "app_version": "4.2.0",
        "os_version": "16",
        "model": "Pixel 9",
        "locale": "de-DE",
        "time_zone": "Europe/Berlin",
        **more,
    }


def load(database_url: str, app_id: int, devices: int, issued_at: int) -> None:
    """COPY the fleet into the tables of an app without devices. User tokens of `issued_at` repeat what is known."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        _copy(connection, "mobileuser", _users(app_id, devices))
        _copy(connection, "device", _devices(app_id, devices, issued_at))
        _copy(connection, "dataversemapping", _mappings(devices))
        _copy(connection, "registration", _registrations(app_id, devices))
        for table in ("mobileuser", "device"):
            connection.execute(f"SELECT setval('registry_{table}_id_seq', {devices})".encode())
        connection.execute("VACUUM ANALYZE")


def _copy(connection: "psycopg.Connection[Any]", table: str, rows: Iterable[dict[str, Any]]) -> None:
    iterator = iter(rows)
    first = next(iterator)
    columns = ", ".join(f'"{name}"' for name in first)
    with connection.cursor().copy(f"COPY registry_{table} ({columns}) FROM STDIN".encode()) as copy:
        copy.write_row(list(first.values()))
        for row in iterator:
            copy.write_row(list(row.values()))


def _users(app_id: int, count: int) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        yield {
            "id": number,
            "app_id": app_id,
            "external_id": f"user-{number}",
            "email": f"user-{number}@example.com",
            "phone": "",
            "push_consent": True,
            "tracking_consent": True,
        }


def _devices(app_id: int, count: int, issued_at: int) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        posted = launch(number)
        yield {
            "id": number,
            "app_id": app_id,
            "user_id": number,
            "installation_id": posted["installation_id"],
            "platform": posted["platform"],
            "token": posted["token"],
            "token_hash": hashlib.sha256(posted["token"].encode()).digest(),
            **{name: posted[name] for name in ("app_version", "os_version", "model", "locale", "time_zone")},
            "retired_reason": "",
            "user_tokens_from": issued_at,
            "revision": 1,
            "planned_revision": 1,
        }


def _mappings(count: int) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        yield {
            "user_id": number,
            "state": "mapped",
            "table": "contact",
            "dataverse_id": uuid.uuid5(NAMESPACE, f"contact {number}"),
            "matched_by": "email",
            "candidates": "[]",
            "detail": "",
            "attempts": 0,
            "claim_no": 1,
        }


def _registrations(app_id: int, count: int) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        push_token = token(number)
        yield {
            "app_id": app_id,
            "device_id": number,
            "table": "contact",
            "dataverse_id": uuid.uuid5(NAMESPACE, f"contact {number}"),
            "platform": "android",
            "token": push_token,
            "token_hash": hashlib.sha256(push_token.encode()).digest(),
            "desired": True,
            "state": "registered",
            "reason": "",
            "detail": "",
            "attempts": 0,
            "rounds": 0,
            "registered_at": "now",
            "decided_at": "now",
            "maybe_held": True,
            "sent_platform": "android",
            "recheck": False,
            "due_at": None,
            "in_flight": False,
            "claim_no": 2,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100_000)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokenhub.settings")
    import django

    django.setup()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from django.core.management import call_command

    from registry.models import TokenIssuer
    from registry.services.apps import create_app, create_dataverse
    from registry.services.keys import create_key
    from registry.services.token_issuers import set_token_issuer

    call_command("migrate", verbosity=0)
    environment = create_dataverse(
        name="contoso",
        url="https://contoso.crm4.dynamics.com",
        tenant="contoso.onmicrosoft.com",
        client_id=str(uuid.uuid4()),
        client_secret="s3cret",  # noqa: S106 nobody is asked
    )
    app = create_app(
        slug="shop",
        name="Shop",
        org_id=uuid.uuid4(),
        mobile_app_id=uuid.uuid4(),
        endpoint="public-eur.mkt.dynamics.com",
        api_token="an-api-token",  # noqa: S106
        dataverse=environment,
        installation_secrets=False,  # the phones of a fleet that was loaded have shown none
    )
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    issuer = TokenIssuer(issuer=ISSUER["iss"], audience=ISSUER["aud"], public_keys=public.decode())
    set_token_issuer(app, issuer)
    issued_at = int(time.time())
    load(os.environ["DATABASE_URL"], app.pk, options.devices, issued_at)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    keys = {kind: create_key(app=app, kind=kind) for kind in ("server", "mobile")}
    print(json.dumps({**keys, "signing_key": private.decode(), "issued_at": issued_at}))  # noqa: T201 what it is for


if __name__ == "__main__":
    main()
