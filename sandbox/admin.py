"""The admin path `/_sandbox/…`: what the far end can be told and asked, which Microsoft's side of course has not."""

import hmac
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.cij.processing import OUTCOMES
from sandbox.dataverse.tables import Table
from sandbox.faults import Action
from sandbox.identity import Identity
from sandbox.journal import page
from sandbox.memory import Memory
from sandbox.script import Step, make

JOURNALS = ("calls", "effects", "events", "callbacks")
DEFAULT_LIMIT = 10_000

type AdminCall = Callable[[Memory, Request, Any], Any]
type Endpoint = Callable[[Request], Awaitable[Response]]


class UnknownError(LookupError):
    """What the call names is not there; answered with 404."""


def routes(memory: Memory, identity: Identity) -> list[Route]:
    """The admin path's routes; each wants `Authorization: Bearer` with the identity's admin token."""

    def route(path: str, method: str, call: AdminCall) -> Route:
        return Route(f"/_sandbox/{path}", _endpoint(memory, identity, call), methods=[method])

    return [
        route("reset", "POST", _reset),
        route("revoke-tokens", "POST", _revoke),
        route("summary", "GET", _summary),
        route("settings", "GET", _settings),
        route("settings", "PATCH", _change_settings),
        route("apps", "PUT", _put_apps),
        route("records/{table}", "POST", _put_records),
        route("records/{table}/{row_id}", "PATCH", _patch_record),
        route("records/{table}/{row_id}", "DELETE", _delete_record),
        route("signing-keys", "PUT", _put_signing_keys),
        route("held", "GET", _held),
        *[route(name, "GET", _journal(name)) for name in JOURNALS],
        route("outcomes", "PUT", _put_outcomes),
        route("faults", "GET", _faults),
        route("faults", "POST", _add_fault),
        route("faults", "DELETE", _clear_faults),
        route("faults/{name}", "DELETE", _remove_fault),
        route("script", "GET", _script),
        route("script", "POST", _run_script),
        route("script", "DELETE", _stop_script),
    ]


def _endpoint(memory: Memory, identity: Identity, call: AdminCall) -> Endpoint:
    expected = f"Bearer {identity.admin_token}".encode()

    async def endpoint(request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
            return _json(401, {"error": "the admin token is missing or wrong"})
        try:
            body = await request.body()
            data = json.loads(body) if body else None
            memory.cij.work_off(time.time())
            return _json(200, call(memory, request, data))
        except UnknownError as error:
            return _json(404, {"error": str(error)})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _json(400, {"error": f"{type(error).__name__}: {error}"})

    return endpoint


def _json(status: int, content: Any) -> Response:
    return Response(json.dumps(content, separators=(",", ":")), status, media_type="application/json")


def _reset(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    memory.reset()
    return {}


def _revoke(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    memory.token_generation += 1
    return {}


def _put_signing_keys(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    memory.signing_keys = dict(data)
    return {}


def _summary(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    journal = memory.journal
    return {
        "now": time.time(),
        "seq": journal.seq,
        "apps": len(memory.apps),
        "records": {name: len(table.rows) for name, table in memory.tables.items()},
        "held": len(memory.cij.held),
        "waiting": memory.cij.waiting,
        "calls": len(journal.calls),
        "effects": len(journal.effects),
        "events": len(journal.events),
        "callbacks": len(journal.callbacks),
        "faults": len(memory.faults.rules),
    }


def _settings(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    return memory.settings.as_json()


def _change_settings(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    memory.settings = memory.settings.changed(data)
    return memory.settings.as_json()


def _put_apps(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    apps = [(str(row["org_id"]), str(row["mobile_app_id"]), str(row["api_token"])) for row in data]
    for app in apps:
        memory.put_app(*app)
    return {"apps": len(memory.apps)}


def _table(memory: Memory, request: Request) -> Table:
    name = request.path_params["table"]
    if name not in memory.tables:
        raise UnknownError(f"there is no table {name}")
    return memory.tables[name]


def _put_records(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    return {"ids": _table(memory, request).put(data)}


def _patch_record(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    if not _table(memory, request).patch(request.path_params["row_id"].lower(), data):
        raise UnknownError("there is no such row")
    return {}


def _delete_record(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    if not _table(memory, request).delete(request.path_params["row_id"].lower()):
        raise UnknownError("there is no such row")
    return {}


def _held(memory: Memory, request: Request, data: Any) -> list[list[str]]:
    app = request.query_params.get("mobile_app_id", "").lower()
    return [[*triple, platform] for triple, platform in memory.cij.held.items() if app in ("", triple.mobile_app_id)]


def _journal(name: str) -> AdminCall:
    def read(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
        query = request.query_params
        rows = page(getattr(memory.journal, name), int(query.get("after", 0)), int(query.get("limit", DEFAULT_LIMIT)))
        kind = query.get("kind")
        chosen = [row for row in rows if kind is None or getattr(row, "kind", None) == kind]
        return {"rows": chosen, "last_seq": rows[-1].seq if rows else None}

    return read


def _put_outcomes(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    planned = {token: value if isinstance(value, list) or value is None else [value] for token, value in data.items()}
    for outcomes in planned.values():
        if outcomes is not None and (not outcomes or any(outcome not in OUTCOMES for outcome in outcomes)):
            raise ValueError(f"an outcome is one of {', '.join(OUTCOMES)}")
    for token, outcomes in planned.items():
        if outcomes is None:
            memory.cij.outcomes.pop(token, None)
        else:
            memory.cij.outcomes[token] = list(outcomes)
    return {}


def _faults(memory: Memory, request: Request, data: Any) -> list[dict[str, Any]]:
    return memory.faults.as_json()


def _add_fault(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    action = Action.from_json(data.get("action", {}))
    narrowed = {"times": data.get("times", 1), "app": data.get("app"), "token": data.get("token")}
    return asdict(memory.faults.add(str(data["kind"]), action, **narrowed))


def _clear_faults(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    memory.faults.clear()
    return {}


def _remove_fault(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    if not memory.faults.remove(request.path_params["name"]):
        raise UnknownError("there is no such rule")
    return {}


def _script(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    return memory.player.as_json()


def _run_script(memory: Memory, request: Request, data: Any) -> list[dict[str, Any]]:
    if "steps" in data:
        steps = [Step.from_json(row) for row in data["steps"]]
    else:
        steps = make(int(data["seed"]), float(data["duration"]), float(data["deadline"]), data.get("weights"))
    memory.player.start(memory, steps, time.monotonic())
    return [asdict(step) for step in steps]


def _stop_script(memory: Memory, request: Request, data: Any) -> dict[str, Any]:
    memory.player.stop(memory)
    return {}
