"""The routes of everything that the sandbox answers to."""

from starlette.applications import Starlette
from starlette.routing import Route

from sandbox import admin
from sandbox.cij import handlers as cij
from sandbox.cij.validation import parse
from sandbox.dataverse.handlers import Dataverse, classify
from sandbox.entra import Entra
from sandbox.front import Front
from sandbox.identity import Identity
from sandbox.memory import Memory

DEVICES = "/api/v1.0/orgs/{org_id}/pushdeviceregistration/devices"


def build(memory: Memory, identity: Identity) -> Starlette:
    """The application over `memory`; `identity` holds the credentials that it asks for."""
    front = Front(memory)
    entra = Entra(identity)
    dataverse = Dataverse(entra, identity)
    push = [
        (DEVICES, "register", cij.register),
        (f"{DEVICES}/batch", "register_batch", cij.register_batch),
        # Documented with the trailing slash; the form without it is answered too, since samples differ in such slashes.
        (f"{DEVICES}/status/", "status", cij.status),
        (f"{DEVICES}/status", "status", cij.status),
        (f"{DEVICES}/cleanup", "cleanup", cij.cleanup),
        (f"{DEVICES}/cleanup/batch", "cleanup_batch", cij.cleanup_batch),
        ("/api/v1.0/orgs/{org_id}/pushdatareceiver/events", "event", cij.event),
    ]
    discovery = "/{tenant}/v2.0/.well-known/openid-configuration"
    routes = [
        *[Route(path, front.endpoint(kind, handler, parse), methods=["POST"]) for path, kind, handler in push],
        Route("/api/data/v9.2/WhoAmI", front.endpoint("who_am_i", dataverse.who_am_i), methods=["GET"]),
        Route("/api/data/v9.2/{segment}", front.endpoint("query", dataverse.read, classify), methods=["GET"]),
        Route(discovery, front.endpoint("discovery", entra.discovery), methods=["GET"]),
        Route("/{tenant}/discovery/v2.0/keys", front.endpoint("keys", entra.keys), methods=["GET"]),
        Route("/{tenant}/oauth2/v2.0/authorize", front.endpoint("authorize", entra.authorize), methods=["GET"]),
        Route("/{tenant}/oauth2/v2.0/token", front.endpoint("token", entra.token), methods=["POST"]),
        *admin.routes(memory, identity),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return app
