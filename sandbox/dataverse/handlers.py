"""The calls of Dataverse's Web API: a query over one table, its changes, one row by its id, and WhoAmI."""

import base64
import binascii
import json
import re
from typing import Any
from urllib.parse import parse_qsl, quote

from sandbox.dataverse import changes, errors, odata
from sandbox.dataverse.tables import Table
from sandbox.entra import Entra
from sandbox.identity import Identity
from sandbox.memory import Memory
from sandbox.wire import Answer, Incoming

# webapi/query/overview.md: pages of at most 5,000 rows; a URL of at most 32,768 characters in a GET request.
PAGE = 5000
MAX_URL = 32768

_ONE = re.compile(r"(\w+)\(([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\)")
_MAX_PAGE_SIZE = re.compile(r"odata\.maxpagesize\s*=\s*(\d+)")
_HEADERS = {"OData-Version": "4.0"}
_TRACK = "odata.track-changes"


class Dataverse:
    """Needs Entra to recognise bearer tokens, and the identity for the ids that WhoAmI tells."""

    def __init__(self, entra: Entra, identity: Identity) -> None:
        self._entra = entra
        self._identity = identity

    def who_am_i(self, memory: Memory, call: Incoming) -> Answer:
        """GET /api/data/v9.2/WhoAmI."""
        self._admit(memory, call)
        identity = self._identity
        return _ok(
            call,
            "Microsoft.Dynamics.CRM.WhoAmIResponse",
            {"BusinessUnitId": identity.tenant, "UserId": identity.client_id, "OrganizationId": identity.tenant},
        )

    def read(self, memory: Memory, call: Incoming) -> Answer:
        """GET /api/data/v9.2/{set} or /api/data/v9.2/{set}({id})."""
        self._admit(memory, call)
        segment = call.params["segment"]
        if call.kind == "changes" and memory.settings.change_tracking != "ignored":
            return _changes(memory, call, _table(memory, segment), segment)
        options = _options(call)
        if match := _ONE.fullmatch(segment):
            return _one(call, _table(memory, match[1]), match[1], match[2].lower(), options)
        return _many(call, _table(memory, segment), segment, options)

    def _admit(self, memory: Memory, call: Incoming) -> None:
        # Our own @odata.nextLink is not held against a client that must follow it unmodified.
        if len(f"{call.base_url}{call.path}?{_without_skiptoken(call.query)}") > MAX_URL:
            raise errors.error(414, errors.BAD_QUERY, f"The URL is longer than {MAX_URL} characters.")
        if not self._entra.recognises(memory, call.headers.get("authorization", "")):
            challenge = f"Bearer authorization_uri={call.base_url}/{self._identity.tenant}/oauth2/authorize"
            raise errors.error(
                401,
                errors.NOT_AUTHENTICATED,
                "The bearer token is missing or not valid.",
                {"WWW-Authenticate": challenge},
            )
        for name in ("odata-version", "odata-maxversion"):
            if call.headers.get(name, "4.0") != "4.0":
                raise errors.bad_query(f"The header {name} must be 4.0.")


def classify(call: Incoming) -> None:
    """Tell a reading of changes from other queries: asked for by a preference at first, by a delta link later."""
    options = dict(parse_qsl(call.query, keep_blank_values=True))
    if _TRACK in call.headers.get("prefer", "") or "$deltatoken" in options:
        call.kind = "changes"


def _metadata(call: Incoming, context: str) -> str:
    return f"{call.base_url}/api/data/v9.2/$metadata#{context}"


def _ok(call: Incoming, context: str, content: dict[str, Any]) -> Answer:
    return Answer(200, {"@odata.context": _metadata(call, context), **content}, dict(_HEADERS))


def _table(memory: Memory, name: str) -> Table:
    table = memory.tables.get(name)
    if table is None:
        raise errors.error(404, errors.NO_SUCH_SEGMENT, f"Resource not found for the segment '{name}'.")
    return table


def _options(call: Incoming) -> dict[str, str]:
    # parse_qsl reads `+` as a blank, as Microsoft's side does: a phone number must be sent as %2B….
    options = dict(parse_qsl(call.query, keep_blank_values=True))
    tracked = call.kind == "changes"
    for name in options:
        if tracked and name in ("$filter", "$orderby", "$expand", "$top"):
            raise errors.bad_query(f'The "{name}" query parameter isn\'t supported when Change Tracking is enabled.')
        if name not in ("$select", "$filter", "$top", "$skiptoken", *(["$deltatoken"] if tracked else [])):
            raise errors.bad_query(f"The query parameter {name} is not supported.")
    return options


def _columns(table: Table, options: dict[str, str]) -> list[str]:
    if "$select" not in options:
        return list(table.columns)
    columns = [name.strip() for name in options["$select"].split(",")]
    for name in columns:
        table.check_column(name)
    return list(dict.fromkeys([*columns, table.id_column]))


def _row(row: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    return {"@odata.etag": f'W/"{row["modifiedon"]}"', **{name: row[name] for name in columns}}


def _one(call: Incoming, table: Table, name: str, row_id: str, options: dict[str, str]) -> Answer:
    columns = _columns(table, options)
    row = table.rows.get(row_id)
    if row is None:
        raise errors.error(404, errors.NOT_FOUND, f"Entity '{table.entity}' With Id = {row_id} Does Not Exist")
    return _ok(call, f"{name}({','.join(columns)})/$entity", _row(row, columns))


def _many(call: Incoming, table: Table, name: str, options: dict[str, str]) -> Answer:
    columns = _columns(table, options)
    node = odata.parse(options["$filter"]) if "$filter" in options else None
    found = table.select(node)
    after = _unpack(options["$skiptoken"]) if "$skiptoken" in options else ""
    if after:
        found = [row_id for row_id in found if row_id > after]
    size, applied = _page_size(call)
    top = _top(options)
    rows = found[: min(size, top or size)]
    content: dict[str, Any] = {"value": [_row(table.rows[row_id], columns) for row_id in rows]}
    if len(found) > len(rows) and top is None:
        content["@odata.nextLink"] = _next_link(call, rows[-1])
    answer = _ok(call, f"{name}({','.join(columns)})", content)
    answer.headers |= applied
    return answer


def _changes(memory: Memory, call: Incoming, table: Table, name: str) -> Answer:
    options = _options(call)
    _check_tracking(memory, table)
    columns = _columns(table, options)
    if "$skiptoken" in options:
        reading = changes.unpack(options["$skiptoken"])
    else:
        reading = changes.begin(table.log, options.get("$deltatoken"), memory.settings.delta_lifetime)
    size, applied = _page_size(call)
    found, left = changes.page(table.log, reading, size)
    context = _metadata(call, name)
    rows = [
        changes.deleted(context, change) if change.gone else _row(table.rows[change.row_id], columns)
        for change in found
    ]
    path = f"{call.base_url}{call.path}?$select={','.join(columns)}"
    link = {"@odata.deltaLink": f"{path}&$deltatoken={quote(changes.delta_token(reading), safe='')}"}
    if left:
        link = {"@odata.nextLink": f"{path}&$skiptoken={quote(changes.pack(left), safe='')}"}
    answer = _ok(call, f"{name}({','.join(columns)}){'/$delta' if reading.since else ''}", {**link, "value": rows})
    if _TRACK in call.headers.get("prefer", ""):
        applied = {"Preference-Applied": ",".join([_TRACK, *applied.values()])}
    answer.headers |= applied
    return answer


def _check_tracking(memory: Memory, table: Table) -> None:
    if memory.settings.change_tracking == "denied":
        privilege = f"PrivilegeName: prvRead{table.entity.title()}, Required Depth: Global"
        raise errors.error(403, errors.PRIVILEGE_DENIED, f"SecLib::CheckPrivilege failed. {privilege}")
    if memory.settings.change_tracking == "refused":
        raise errors.bad_query(f"Entity: {table.entity} isn't enabled for change tracking.")


def _top(options: dict[str, str]) -> int | None:
    if "$top" not in options:
        return None
    if not options["$top"].isdecimal() or not 0 < int(options["$top"]) <= PAGE:
        raise errors.bad_query(f"$top is a number from 1 to {PAGE}.")
    return int(options["$top"])


def _page_size(call: Incoming) -> tuple[int, dict[str, str]]:
    match = _MAX_PAGE_SIZE.search(call.headers.get("prefer", ""))
    if match is None or int(match[1]) < 1:
        return PAGE, {}
    size = min(int(match[1]), PAGE)
    return size, {"Preference-Applied": f"odata.maxpagesize={size}"}


def _next_link(call: Incoming, last_id: str) -> str:
    token = base64.urlsafe_b64encode(json.dumps({"after": last_id}).encode()).decode()
    return f"{call.base_url}{call.path}?{_without_skiptoken(call.query)}&$skiptoken={quote(token, safe='')}"


def _without_skiptoken(query: str) -> str:
    return "&".join(part for part in query.split("&") if not part.startswith(("$skiptoken=", "%24skiptoken=")))


def _unpack(token: str) -> str:
    try:
        return str(json.loads(base64.urlsafe_b64decode(token))["after"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise errors.bad_query(
            "The $skiptoken was not made by this server: follow @odata.nextLink unmodified."
        ) from None
