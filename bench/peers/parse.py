"""parse-server on node, as `npx parse-server` runs it, with its PostgreSQL adapter: one process, which is one thread.

Installations are posted to its REST API as its SDKs do at each launch; one that it knows by its installation id is
updated. It makes its tables beside tokenhub's, whose names are others. The indexes are on what its queries look for
(installationId and deviceToken): it makes none by itself.
"""

from typing import Any

import psycopg

from bench import fleet, machine
from bench.machine import Stores
from bench.peers.setup import FOLDER, once
from tokenhub.embedded import ports

PINNED = ("parse-server@9.10.0",)
HOME = FOLDER / "parse"
PATH = "/parse/installations"
HEADERS = {"Content-Type": "application/json", "X-Parse-Application-Id": "shop"}
WRITTEN = 'SELECT count(*) FROM "_Installation"'
# Other parts than push have no business here, and some would ask the outside.
_SETTINGS = {
    "PARSE_SERVER_APPLICATION_ID": "shop",
    "PARSE_SERVER_MASTER_KEY": "bench",
    "PARSE_SERVER_LOG_LEVEL": "error",
}
_FILL = """
INSERT INTO "_Installation" ("objectId", "createdAt", "updatedAt", "installationId", "deviceToken", "deviceType",
    "appVersion", "localeIdentifier", "timeZone")
SELECT left(md5('object ' || id), 10), now(), now(), installation_id, token, platform, app_version, locale, time_zone
FROM registry_device
ON CONFLICT DO NOTHING
"""


def install() -> None:
    """Make what is not there yet. npm runs no package's own scripts."""
    HOME.mkdir(parents=True, exist_ok=True)
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error")
    once(HOME, PINNED, ("npm", "install", "--prefix", str(HOME), *quiet, *PINNED))


def argv(port: int) -> list[str]:
    """The server."""
    return ["node", str(HOME / "node_modules/parse-server/bin/parse-server"), "--port", str(port)]


def environment(stores: Stores) -> dict[str, str]:
    """What it is started with."""
    return {
        **stores.environment,
        **_SETTINGS,
        "PARSE_SERVER_DATABASE_URI": stores.database_url,
        "PARSE_SERVER_LOGS_FOLDER": str(stores.folder / "parse-logs"),
        "NODE_ENV": "production",
    }


def body(number: int) -> dict[str, Any]:
    """What the fleet's phone of that number posts."""
    launch = fleet.launch(number)
    return {
        "installationId": launch["installation_id"],
        "deviceToken": launch["token"],
        "deviceType": launch["platform"],
        "appVersion": launch["app_version"],
        "localeIdentifier": launch["locale"],
        "timeZone": launch["time_zone"],
    }


def prepare(stores: Stores) -> None:
    """Have it make its tables, and fill them with tokenhub's devices."""
    with psycopg.connect(stores.database_url, autocommit=True) as connection:
        port = ports.choose()
        with machine.server("parse", argv(port), port, environment(stores), stores.folder) as server:
            machine.posted(server.url + PATH, body(0), HEADERS, {200, 201})  # it listens before its tables are there
        connection.execute(_FILL)
        for column in ("installationId", "deviceToken"):
            connection.execute(f'CREATE INDEX ON "_Installation" ("{column}")'.encode())
