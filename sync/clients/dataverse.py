"""Look-ups in Dataverse's Web API.

Sources: MicrosoftDocs/powerapps-docs, developer/data-platform (query data, service protection limits). Comparisons of
strings are case-insensitive there, at most 500 conditions and 32,768 characters of URL make one query.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from sync.clients import http
from sync.clients.errors import Denied, Unavailable

MAX_CONDITIONS = 500
MAX_URL = 32_768
MAX_PAGES = 100
HEADERS = {"Accept": "application/json", "OData-Version": "4.0", "OData-MaxVersion": "4.0", "If-None-Match": "null"}


@dataclass(frozen=True)
class Table:
    """A table to look users up in; its columns are named as Dataverse names them."""

    entity_set: str
    id_column: str
    email_column: str
    phone_column: str


@dataclass(frozen=True)
class Record:
    """An active record: its id, and the value that the look-up matched."""

    id: uuid.UUID
    value: str


class DataverseClient:
    """Reads of one environment. `token` returns a bearer token, `forget` drops it."""

    def __init__(
        self,
        client: httpx2.Client,
        url: str,
        *,
        token: Callable[[], str],
        forget: Callable[[], None],
        deadline: float,
    ) -> None:
        self._client = client
        self._base = f"{url}/api/data/v9.2/"
        self._token = token
        self._forget = forget
        self._deadline = deadline

    def find(self, table: Table, column: str, values: Iterable[str]) -> list[Record]:
        """Active records of `table` whose `column` equals one of `values`, ignoring case. Raises RemoteError."""
        return [
            record
            for query in queries(self._base, table, column, values)
            for record in self._read(query, table, column)
        ]

    def _read(self, url: str, table: Table, column: str) -> Iterator[Record]:
        for _ in range(MAX_PAGES):
            answer = self._get(url)
            if not isinstance(answer, dict) or not isinstance(rows := answer.get("value"), list):
                raise Unavailable("the answer holds no list of records")
            for row in rows:
                yield _record(row, table, column)
            following = answer.get("@odata.nextLink")
            if following is None:
                return
            url = self._same_host(following)
        raise Unavailable(f"the answer has more than {MAX_PAGES} pages")

    def _get(self, url: str) -> Any:
        try:
            return self._get_once(url)
        except Denied:
            self._forget()  # a token can be revoked before it expires: sign in anew, once
            return self._get_once(url)

    def _get_once(self, url: str) -> Any:
        headers = HEADERS | {"Authorization": f"Bearer {self._token()}"}
        return http.call(self._client, "GET", url, deadline=self._deadline, headers=headers)

    def _same_host(self, link: Any) -> str:
        """The next page's link, unmodified; our token goes to no other host."""
        if not isinstance(link, str) or urlsplit(link)[:2] != urlsplit(self._base)[:2]:
            raise Unavailable("the answer links to another host")
        return link


def queries(base: str, table: Table, column: str, values: Iterable[str]) -> Iterator[str]:
    """URLs that together ask for all `values`, each within Dataverse's limits."""
    prefix = f"{base}{table.entity_set}?$select={table.id_column},{column}&$filter=statecode%20eq%200%20and%20("
    conditions: list[str] = []
    length = len(prefix) + 1
    for value in values:
        condition = quote(f"{column} eq {literal(value)}", safe="")
        joined = len(condition) + len("%20or%20")
        # One condition is taken by statecode.
        if conditions and (len(conditions) == MAX_CONDITIONS - 1 or length + joined > MAX_URL):
            yield f"{prefix}{'%20or%20'.join(conditions)})"
            conditions, length = [], len(prefix) + 1
        conditions.append(condition)
        length += joined
    if conditions:
        yield f"{prefix}{'%20or%20'.join(conditions)})"


def literal(value: str) -> str:
    """A string literal of OData: in apostrophes, those within doubled."""
    return "'" + value.replace("'", "''") + "'"


def _record(row: Any, table: Table, column: str) -> Record:
    try:
        value = row[column]
        return Record(uuid.UUID(row[table.id_column]), value if isinstance(value, str) else "")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unavailable(f"the answer holds a record without {table.id_column} or {column}") from None


def by_value(records: Sequence[Record]) -> dict[str, list[uuid.UUID]]:
    """Record ids by matched value, folded as Dataverse compares."""
    found: dict[str, list[uuid.UUID]] = {}
    for record in records:
        found.setdefault(record.value.strip().casefold(), []).append(record.id)
    return found
