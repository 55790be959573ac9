"""A fleet that tokenhub knows already: users, devices, mappings and registrations.

python -m bench.fleet --devices 100000    # migrates, loads, prints the app's keys as JSON
"""

import argparse
import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from registry.models import MobileApp

ISSUER = {"iss": "https://login.example", "aud": "shop"}


def create_shop(**fields: Any) -> "MobileApp":
    """An app like any other, whose Microsoft nobody asks."""
    from registry.services.apps import create_app, create_dataverse

    environment = create_dataverse(
        name="contoso",
        url="https://contoso.crm4.dynamics.com",
        tenant="contoso.onmicrosoft.com",
        client_id=str(uuid.uuid4()),
        client_secret="s3cret",  # noqa: S106
    )
    return create_app(
        slug="shop",
        name="Shop",
        org_id=uuid.uuid4(),
        mobile_app_id=uuid.uuid4(),
        endpoint="public-eur.mkt.dynamics.com",
        api_token="an-api-token",  # noqa: S106
        dataverse=environment,
        **fields,
    )


def installation(number: int) -> str:
    """The installation id of the fleet's phone of that number, counted from 1."""
    return str(uuid.UUID(hashlib.md5(f"installation {number}".encode()).hexdigest()))  # noqa: S324 PostgreSQL has it, too


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


# The same tokens and ids as above, made by PostgreSQL.
_TOKENS = """
CREATE TEMPORARY TABLE numbers AS
SELECT n AS number, app_id, issued_at, md5('contact ' || n)::uuid AS dataverse_id,
    'f' || left(digest, 21) || ':APA91b' || left(digest || digest, 134) AS token
FROM (SELECT n, {app_id} AS app_id, {issued_at} AS issued_at, encode(sha512((n || '.0')::bytea), 'hex') AS digest
      FROM generate_series({first}, {last}) AS n) AS made
"""
_TABLES = {
    "mobileuser": {
        "id": "number",
        "app_id": "app_id",
        "external_id": "'user-' || number",
        "email": "'user-' || number || '@example.com'",
        "phone": "''",
        "push_consent": "true",
        "tracking_consent": "true",
    },
    "device": {
        "id": "number",
        "app_id": "app_id",
        "user_id": "number",
        "installation_id": "md5('installation ' || number)::uuid::text",
        "platform": "'android'",
        "token": "token",
        "token_hash": "sha256(token::bytea)",
        "app_version": "'4.2.0'",
        "os_version": "'16'",
        "model": "'Pixel 9'",
        "locale": "'de-DE'",
        "time_zone": "'Europe/Berlin'",
        "retired_reason": "''",
        "user_tokens_from": "issued_at",
        "revision": "1",
        "planned_revision": "1",
    },
    "dataversemapping": {
        "user_id": "number",
        "state": "'mapped'",
        '"table"': "'contact'",
        "dataverse_id": "dataverse_id",
        "matched_by": "'email'",
        "candidates": "'[]'",
        "detail": "''",
        "attempts": "0",
        "claim_no": "1",
        "checked_at": "now()",
    },
    "registration": {
        "app_id": "app_id",
        "device_id": "number",
        '"table"': "'contact'",
        "dataverse_id": "dataverse_id",
        "platform": "'android'",
        "token": "token",
        "token_hash": "sha256(token::bytea)",
        "desired": "true",
        "state": "'registered'",
        "reason": "''",
        "detail": "''",
        "attempts": "0",
        "rounds": "0",
        "registered_at": "now()",
        "decided_at": "now()",
        "maybe_held": "true",
        "sent_platform": "'android'",
        "recheck": "false",
        "in_flight": "false",
        "claim_no": "2",
    },
}
CHUNK = 1_000_000
# What is not there while a table is filled, and is made when it is full.
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = ANY(%s::regclass[])
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""
# Of a table that others refer to the primary key has to stay.
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('f', 'u') AND conrelid = ANY(%s::regclass[]) ORDER BY contype DESC
"""


def load(database_url: str, app_id: int, devices: int, issued_at: int) -> None:
    """Make the fleet in the tables of an app without devices. User tokens of `issued_at` repeat what is known.

    By the server itself; indexes and constraints are made when all is there, and there is no history.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        _execute(connection, ["SET maintenance_work_mem = '1GB'", "SET synchronous_commit = off"])
        tables = [f"registry_{table}" for table in _TABLES]
        indexes = connection.execute(_INDEXES, [tables]).fetchall()
        constraints = connection.execute(_CONSTRAINTS, [tables]).fetchall()
        statements = [f"DROP INDEX {name}" for name, _ in indexes]
        statements += [f"ALTER TABLE {table} DROP CONSTRAINT {name}" for table, name, _ in constraints]
        statements += [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in tables]
        _execute(connection, statements)
        for first in range(1, devices + 1, CHUNK):
            last = min(first + CHUNK - 1, devices)
            connection.execute("DROP TABLE IF EXISTS numbers")
            given = {"app_id": app_id, "issued_at": issued_at, "first": first, "last": last}
            connection.execute(_TOKENS.format(**given).encode())
            for table, columns in _TABLES.items():
                names, values = ", ".join(columns), ", ".join(columns.values())
                _execute(connection, [f"INSERT INTO registry_{table} ({names}) SELECT {values} FROM numbers"])  # noqa: S608
            sys.stderr.write(f"{last:,} devices\n")
        statements = [definition for _, definition in indexes]
        statements += [
            f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" for table, name, definition in constraints
        ]
        statements += [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in tables]
        statements += [f"SELECT setval('registry_{table}_id_seq', {devices})" for table in ("mobileuser", "device")]
        _execute(connection, [*statements, "VACUUM ANALYZE"])


def _execute(connection: "psycopg.Connection[Any]", statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement.encode())


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
    from registry.services.keys import create_key
    from registry.services.token_issuers import set_token_issuer

    call_command("migrate", verbosity=0)
    app = create_shop(installation_secrets=False)  # the phones of a fleet that was loaded have shown none
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
