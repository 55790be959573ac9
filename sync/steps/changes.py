"""Follow changes: what Dataverse's change tracking tells is looked at at once, where it concerns anybody.

1. Every table that an app looks for users in has a feed, where its environment's change tracking is on.
2. The first reading goes through all records, page by page: only its end brings the link that tells of changes. Its
   records are not looked at, since nothing says that they changed.
3. From then on: who is mapped to a record that is gone or inactive is due for a re-check, which decides; who was not
   found, or not told apart, and has the e-mail address or phone number of a changed record is due for a look-up.
4. A link that Dataverse does not know (any more) is dropped, and the first reading begins anew. What changed meanwhile
   needs no mark: the re-check goes through all mappings in its period anyway, at a measured pace.

A page's marks are written before its link is: a worker that dies between them reads the page again, and marks again.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from registry.models import ChangeFeed, MobileApp
from registry.services import clock
from registry.services.locking import in_transaction
from registry.states import DataverseTable
from sync import connect, pauses, records
from sync.clients.dataverse import Changes, DataverseClient, Table
from sync.clients.errors import Denied, Refused, RemoteError

logger = logging.getLogger(__name__)

PAGES = 10  # of at most 5,000 records, in one run
AFTER_FAILURE = timedelta(seconds=30)
AFTER_REFUSAL = timedelta(hours=1)
LINK_LIFE = timedelta(days=7)  # Dataverse's default; an organisation can change it

_CLAIM = """
UPDATE registry_changefeed SET due_at = now() + %(lease)s, claim_no = claim_no + 1
WHERE id = (
    SELECT id FROM registry_changefeed
    WHERE environment_id = %(environment)s AND "table" = ANY(%(tables)s) AND due_at <= now()
    ORDER BY due_at LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING *
"""
# A higher claim_no drops the answer to a question that was asked before the change and is in the air.
_RECHECK = """
UPDATE registry_dataversemapping
SET recheck_at = least(recheck_at, now()), claim_no = claim_no + 1, told_deleted = told_deleted OR %(deleted)s
WHERE user_id IN (
    SELECT m.user_id FROM registry_dataversemapping m
    JOIN registry_mobileuser u ON u.id = m.user_id JOIN registry_mobileapp a ON a.id = u.app_id
    WHERE m.dataverse_id = ANY(%(ids)s) AND m."table" = %(table)s AND m.state = 'mapped'
        AND (m.recheck_at > now() OR (%(deleted)s AND NOT m.told_deleted))
        AND a.dataverse_id = %(environment)s
    ORDER BY m.user_id
    FOR UPDATE OF m
)
"""
_LOOK_UP = """
UPDATE registry_dataversemapping SET due_at = now(), claim_no = claim_no + 1
WHERE user_id IN (
    SELECT m.user_id FROM registry_dataversemapping m
    JOIN registry_mobileuser u ON u.id = m.user_id JOIN registry_mobileapp a ON a.id = u.app_id
    WHERE m.user_id IN (
        SELECT id FROM registry_mobileuser WHERE lower(email) = ANY(%(emails)s)
        UNION ALL
        SELECT id FROM registry_mobileuser WHERE phone = ANY(%(phones)s) AND phone <> ''
    ) AND m.state IN ('not_found', 'ambiguous') AND m.due_at > now() AND a.dataverse_id = %(environment)s
    ORDER BY m.user_id
    FOR UPDATE OF m
)
"""


def run_batch(app: MobileApp) -> int:
    """Read a few pages of one feed of the app's environment; return how many were asked for."""
    environment = app.dataverse
    if not environment.change_tracking:
        return 0
    gate = pauses.gate(environment, PAGES)
    feeds = gate.claim(lambda _: _claim(app))
    if feeds is None:
        return 0
    [feed] = feeds
    client, table = connect.dataverse(environment), connect.tables(environment)[feed.table]
    for asked in range(1, gate.limit + 1):
        try:
            page = _read(client, table, feed)
        except RemoteError as error:
            logger.warning("Dataverse %s: changes of table %s: %s", environment, feed.table, error)
            _settle(feed, after_failure(feed, error, clock.now()))
            # A refusal concerns this feed alone: its link, its table's setting, or a privilege that only it needs.
            if not isinstance(error, Refused | Denied):
                gate.heed(error)
            return asked
        # The page after this one is ours for another lease; after the last the next run goes on at once.
        pause = settings.TOKENHUB_LEASE if asked < gate.limit else timedelta()
        if not _settle(feed, after_page(feed, page, clock.now(), pause)) or not page.more:
            break
    gate.heed(None)
    return asked


def after_page(feed: ChangeFeed, page: Changes, now: datetime, pause: timedelta) -> dict[str, Any]:
    """The fields that a page writes. `pause` is the time until the next page, where there is one."""
    change: dict[str, Any] = {"link": page.link, "checked_at": now, "detail": ""}
    if not feed.link:
        change["started_at"] = now
    if page.more:
        return change | {"due_at": now + pause}
    return change | {"completed_at": feed.completed_at or now, "due_at": now + settings.TOKENHUB_CHANGES_PERIOD}


def after_failure(feed: ChangeFeed, error: RemoteError, now: datetime) -> dict[str, Any]:
    """The fields that a failed call writes.

    Where the link is refused, or fails beyond its life, the reading begins anew: at once after changes had been
    followed, so that a first reading that fails again and again waits in between.
    """
    wait = AFTER_REFUSAL if isinstance(error, Refused | Denied) else AFTER_FAILURE
    change: dict[str, Any] = {"detail": str(error), "due_at": now + wait}
    expired = feed.checked_at is not None and feed.checked_at < now - LINK_LIFE
    if feed.link and (expired or isinstance(error, Refused)):
        change |= {"link": "", "completed_at": None}
        if feed.completed_at:
            change["due_at"] = now
    return change


def _claim(app: MobileApp) -> list[ChangeFeed]:
    """The feed that is due longest, if any."""
    feeds = ChangeFeed.objects.filter(environment=app.dataverse)
    missing = set(app.match) - set(feeds.values_list("table", flat=True))
    new = [ChangeFeed(environment=app.dataverse, table=table) for table in sorted(missing)]
    ChangeFeed.objects.bulk_create(new, ignore_conflicts=True)
    parameters = {"environment": app.dataverse_id, "tables": list(app.match), "lease": settings.TOKENHUB_LEASE}
    return list(ChangeFeed.objects.raw(_CLAIM, parameters))


def _settle(feed: ChangeFeed, change: dict[str, Any]) -> bool:
    """Write to the feed, where it is still ours; return whether it is."""
    for name, value in change.items():
        setattr(feed, name, value)
    return ChangeFeed.objects.filter(pk=feed.pk, claim_no=feed.claim_no).update(**change) == 1


def _read(client: DataverseClient, table: Table, feed: ChangeFeed) -> Changes:
    """Read a page, and mark whom its changes concern. Raises RemoteError."""
    columns = [*records.COLUMNS[DataverseTable(feed.table)], table.email_column, table.phone_column]
    page = client.changes(table, list(dict.fromkeys(columns)), feed.link)
    if feed.completed_at:
        _mark(feed, table, page)
    return page


def _mark(feed: ChangeFeed, table: Table, page: Changes) -> None:
    # Whatever else changed of a record that is active: its user stays mapped to it.
    inactive = {id_ for id_, row in page.changed.items() if not records.is_active(feed.table, row)}
    for ids, deleted in ((inactive, False), (page.deleted, True)):
        if ids:
            about = {"environment": feed.environment_id, "table": feed.table, "ids": list(ids), "deleted": deleted}
            _execute(_RECHECK, about)
    emails = {value.lower() for value in _values(page, table.email_column)}
    phones = _values(page, table.phone_column)
    if emails or phones:
        _execute(_LOOK_UP, {"environment": feed.environment_id, "emails": list(emails), "phones": list(phones)})


def _values(page: Changes, column: str) -> set[str]:
    """What stands in a column; what no user could have been posted with is left out, as is what no store takes."""
    values = (row.get(column) for row in page.changed.values())
    return {value.strip() for value in values if isinstance(value, str) and value.strip() and value.isprintable()}


def _execute(statement: str, parameters: dict[str, Any]) -> None:
    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    in_transaction(run)
