"""Look-ups in Dataverse's Web API.

Sources: MicrosoftDocs/powerapps-docs, developer/data-platform (query data, service protection limits). Comparisons of
strings are case-insensitive there, at most 500 conditions and 32,768 characters of URL make one query.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from sync.clients.calls import Call
from sync.clients.errors import Denied, Refused, Unavailable
from sync.clients.http import Http, parse

MAX_CONDITIONS = 500
MAX_URL = 32_768
MAX_PAGES = 100
HEADERS = {"Accept": "application/json", "OData-Version": "4.0", "OData-MaxVersion": "4.0", "If-None-Match": "null"}
# Sent with every page, as with other paged queries: a link alone is not said to carry its preferences.
TRACKING = HEADERS | {"Prefer": "odata.track-changes,odata.maxpagesize=5000"}


@dataclass(frozen=True)
class Table:
    """A table to look users up in; its columns are named as Dataverse names them."""

    entity_set: str
    id_column: str
    email_column: str
    phone_column: str


type Row = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """An active record: its id, and the value that the look-up matched."""

    id: uuid.UUID
    value: str


@dataclass(frozen=True)
class Changes:
    """A page of what changed in a table: rows as they are now, ids of those that are gone, and the link to go on with.

    `more`: the link leads to the next page now; otherwise it tells of what changes from now on.
    """

    changed: dict[uuid.UUID, Row]
    deleted: set[uuid.UUID]
    link: str
    more: bool


class DataverseClient:
    """Reads of one environment. `token` returns a bearer token, `forget` drops it."""

    def __init__(
        self,
        http: Http,
        url: str,
        *,
        token: Callable[[], str],
        forget: Callable[[], None],
        name: str = "",
    ) -> None:
        """`name` is what the environment is called here."""
        self._http = http
        self._name = name
        self._base = f"{url}/api/data/v9.2/"
        self._token = token
        self._forget = forget

    def find(self, table: Table, column: str, values: Iterable[str | uuid.UUID]) -> list[Record]:
        """Active records of `table` whose `column` equals one of `values`, ignoring case. Raises RemoteError."""
        select = (
            f"{self._base}{table.entity_set}?$select={table.id_column},{column}&$filter=statecode%20eq%200%20and%20("
        )
        # One condition is taken by statecode.
        chunks = queries(select, column, map(literal, values), MAX_CONDITIONS - 1)
        return [_record(row, table, column) for query in chunks for row in self._read(query, "look_up")]

    def get(self, table: Table, columns: Sequence[str], ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Row]:
        """The records of `table` with these ids, active or not, by id; what is not there is left out. Raises
        RemoteError."""
        select = f"{self._base}{table.entity_set}?$select={','.join([table.id_column, *columns])}&$filter=("
        chunks = queries(select, table.id_column, map(literal, ids), MAX_CONDITIONS)
        rows = [row for query in chunks for row in self._read(query, "recheck")]
        return {_id(row, table.id_column): row for row in rows}

    def changes(self, table: Table, columns: Sequence[str], link: str = "") -> Changes:
        """A page of what changed in `table` since `link` was given out; without it, of all its records.

        Raises RemoteError; Refused also where the link is not known (any more), or the table's changes are not tracked.
        Source: MicrosoftDocs/powerapps-docs, use-change-tracking-synchronize-data-external-systems.
        """
        url = link or f"{self._base}{table.entity_set}?$select={','.join([table.id_column, *columns])}"
        if not self._is_ours(url):
            raise Refused("the link leads to another host")
        answer = self._get(url, "changes", TRACKING)
        if link and not answer:  # documented for a table in which nothing changed
            return Changes({}, set(), link, more=False)
        rows = _rows(answer)
        deleted = {_id(row, "id") for row in rows if _is_deleted(row)}
        changed = {_id(row, table.id_column): row for row in rows if not _is_deleted(row)}
        following = answer.get("@odata.nextLink")
        onward = answer.get("@odata.deltaLink") if following is None else following
        if onward is None:
            raise Refused("no delta link came: the table's changes are not tracked")
        if len(self._same_host(onward)) > MAX_URL:
            raise Unavailable(f"the answer's link is longer than {MAX_URL} characters")
        return Changes(changed, deleted, onward, more=following is not None)

    def _read(self, url: str, name: str) -> Iterator[Row]:
        for _ in range(MAX_PAGES):
            answer = self._get(url, name)
            yield from _rows(answer)
            following = answer.get("@odata.nextLink")
            if following is None:
                return
            url = self._same_host(following)
        raise Unavailable(f"the answer has more than {MAX_PAGES} pages")

    def _get(self, url: str, name: str, headers: Mapping[str, str] = HEADERS) -> Any:
        try:
            return self._get_once(url, name, headers)
        except Denied:
            self._forget()  # a token can be revoked before it expires: sign in anew, once
            return self._get_once(url, name, headers)

    def _get_once(self, url: str, name: str, headers: Mapping[str, str]) -> Any:
        signed = {**headers, "Authorization": f"Bearer {self._token()}"}
        return parse(self._http.call("GET", url, headers=signed, call=Call(name, self._name)))

    def _same_host(self, link: Any) -> str:
        """The next page's link, unmodified; our token goes to no other host."""
        if not isinstance(link, str) or not self._is_ours(link):
            raise Unavailable("the answer links to another host")
        return link

    def _is_ours(self, link: str) -> bool:
        try:
            return link.isprintable() and urlsplit(link)[:2] == urlsplit(self._base)[:2]
        except ValueError:
            return False


def queries(select: str, column: str, literals: Iterable[str], most: int) -> Iterator[str]:
    """URLs that together ask for all values of `column`, each within Dataverse's limits. `select` ends with the
    parenthesis that the conditions, at most `most`, come into."""
    conditions: list[str] = []
    length = len(select) + 1
    for value in literals:
        condition = quote(f"{column} eq {value}", safe="")
        joined = len(condition) + len("%20or%20")
        if conditions and (len(conditions) == most or length + joined > MAX_URL):
            yield f"{select}{'%20or%20'.join(conditions)})"
            conditions, length = [], len(select) + 1
        conditions.append(condition)
        length += joined
    if conditions:
        yield f"{select}{'%20or%20'.join(conditions)})"


def literal(value: str | uuid.UUID) -> str:
    """A literal of OData: a GUID is bare, a string in apostrophes, those within doubled."""
    if isinstance(value, uuid.UUID):
        return str(value)
    return "'" + value.replace("'", "''") + "'"


def _rows(answer: Any) -> list[Row]:
    if not isinstance(answer, dict) or not isinstance(rows := answer.get("value"), list):
        raise Unavailable("the answer holds no list of records")
    return rows


def _is_deleted(row: Any) -> bool:
    return isinstance(row, dict) and str(row.get("@odata.context", "")).endswith("/$deletedEntity")


def _record(row: Any, table: Table, column: str) -> Record:
    try:
        value = row[column]
        return Record(uuid.UUID(row[table.id_column]), value if isinstance(value, str) else "")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unavailable(f"the answer holds a record without {table.id_column} or {column}") from None


def _id(row: Any, column: str) -> uuid.UUID:
    try:
        return uuid.UUID(row[column])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unavailable(f"the answer holds a record without {column}") from None


def by_value(records: Sequence[Record]) -> dict[str, list[uuid.UUID]]:
    """Record ids by matched value, folded as Dataverse compares."""
    found: dict[str, list[uuid.UUID]] = {}
    for record in records:
        found.setdefault(record.value.strip().casefold(), []).append(record.id)
    return found
