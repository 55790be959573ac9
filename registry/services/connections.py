"""Replacing an app's connection to CI-J: its organisation, mobile app id and endpoint.

1. One transaction: a row of its own (ReplacedConnection) gets the old connection, and with it every registration, every
   event that is not relayed yet, and every pause. It desires nothing, so the workers clean up what it has.
2. The app keeps its slug, keys, users and devices. Its devices are marked in batches (`sync.steps.replace`), planned
   anew, and registered under the new connection.
3. When nothing is left under the old connection it is over. Where its CI-J is gone for good a person abandons it: what
   is left is written off.

Claims share a lock on the app's row, and name the connection that they were made for: none is made while the rows move,
and none afterwards by a worker that still knows the old connection. One that was made before moves with its row, and
its answer is settled there.
"""

import itertools
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, F
from django.utils import timezone

from registry.crypto import SecretUnreadable
from registry.models import (
    Erasure,
    InteractionEvent,
    MobileApp,
    Pause,
    Registration,
    ReplacedConnection,
    secret_columns,
)
from registry.ports import announce
from registry.services import event_counts
from registry.services.apps import guid, refuse_taken
from registry.services.errors import InvalidInput
from registry.services.locking import in_transaction
from registry.services.normalise import https_origin
from registry.services.purge import is_over
from registry.states import ErasureState, EventState, NotRelayedReason

# When each row is due follows from the same rules as where the planner finds that it is not desired any more.
_MOVE = """
UPDATE registry_registration
SET app_id = %(old)s, desired = false,
    desired_changed_at = CASE WHEN desired THEN now() ELSE desired_changed_at END,
    due_at = CASE WHEN NOT desired OR in_flight OR state = 'retiring' THEN due_at
                  WHEN state = 'sent' THEN least(due_at, now() + %(soon)s)
                  WHEN state = 'ready' AND undecided_until IS NOT NULL THEN greatest(now(), sent_at + %(patience)s)
                  ELSE now() END
WHERE app_id = %(app)s
"""


def replace_connection(
    app: MobileApp,
    *,
    api_token: str,
    org_id: str | uuid.UUID | None = None,
    mobile_app_id: str | uuid.UUID | None = None,
    endpoint: str | None = None,
) -> MobileApp:
    """Give the app another connection; return the row that keeps the old one. What is not given stays as it is.

    Takes about half a minute for a million registrations, during which none of the app's is sent.
    Raises InvalidInput: a bad value, nothing that differs, ids of another app, or an app that was replaced itself.
    """
    refuse_replaced(app)
    new: dict[str, Any] = {
        "org_id": app.org_id if org_id is None else guid("org_id", org_id),
        "mobile_app_id": app.mobile_app_id if mobile_app_id is None else guid("mobile_app_id", mobile_app_id),
        "endpoint": app.endpoint
        if endpoint is None
        else https_origin("endpoint", endpoint, settings.TOKENHUB_CIJ_HOST_SUFFIXES),
    }
    if not api_token.strip():
        raise InvalidInput("api_token", "is empty.")
    if all(getattr(app, name) == value for name, value in new.items()):
        raise InvalidInput("endpoint", "This is the app's connection already.")
    try:
        return in_transaction(lambda: _replace(app.pk, {**new, "api_token": api_token}))
    except SecretUnreadable:
        raise InvalidInput(
            "app", "Its ApiToken cannot be read; set_api_token first, for the cleanup needs it."
        ) from None


def refuse_replaced(app: MobileApp) -> None:
    """Raise InvalidInput for a row that only keeps a replaced connection."""
    if app.replaced_by_id is not None:
        raise InvalidInput("app", f"{app.slug} is a connection that was replaced; nothing new is done under it.")


def abandon_connection(app: MobileApp, note: str, by: str) -> tuple[int, int]:
    """Write off what is left under a replaced connection; return how many registrations and events.

    What its CI-J still holds stays there, and no erasure or hand-over waits for it any longer. Raises InvalidInput: not
    a replaced connection, one that is over, or no note.
    """
    if app.replaced_by_id is None:
        raise InvalidInput("app", f"{app.slug} is in use: replace its connection first (manage.py replace_connection).")
    if app.over_at is not None:
        raise InvalidInput("app", f"Nothing is left under {app.slug}.")
    if not note.strip():
        raise InvalidInput("note", "Say why it is abandoned.")
    return in_transaction(lambda: _abandon(app.pk, f"{note.strip()} ({by})"))


def connections_of(app: MobileApp) -> list[int]:
    """The ids of all rows that what concerns the app's users may stand under: itself, and its replaced connections.

    Good until the transaction ends: a replacement that is under way is waited for, and the next one waits.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM registry_mobileapp WHERE id = %s FOR SHARE", [app.pk])
    return [app.pk, *ReplacedConnection.objects.filter(replaced_by=app).values_list("pk", flat=True)]


def left_under(app: MobileApp) -> tuple[int, int]:
    """How many registrations CI-J has still to forget, and how many events are not relayed yet."""
    registrations = Registration.objects.filter(app=app).exclude(is_over())
    return registrations.count(), InteractionEvent.objects.filter(app=app, due_at__isnull=False).count()


def is_empty(app: MobileApp) -> bool:
    """Whether nothing is left. Asks first what is due, which is quick."""
    rows, events = Registration.objects.filter(app=app), InteractionEvent.objects.filter(app=app)
    if rows.filter(due_at__isnull=False).exists() or events.filter(due_at__isnull=False).exists():
        return False
    return not rows.exclude(is_over()).exists()


def _replace(pk: int, new: dict[str, Any]) -> MobileApp:
    app = MobileApp.objects.select_for_update(no_key=True).get(pk=pk)
    refuse_taken(new["org_id"], new["mobile_app_id"], but_for=app)
    # The new one marks every device once more.
    ReplacedConnection.objects.filter(replaced_by=app).update(marked_to=None)
    kept = ("name", "org_id", "mobile_app_id", "endpoint", "api_token", "dataverse", "match", "match_by")
    old = MobileApp(
        **{name: getattr(app, name) for name in (*kept, "requests_per_second", "batch_cleanup")},
        slug=_free_slug(app.slug),
        replaced_by=app,
        replaced_at=timezone.now(),
        marked_to=0,
    )
    old.save(force_insert=True)
    parameters: dict[str, Any] = {
        "app": app.pk,
        "old": old.pk,
        "soon": timedelta(seconds=1),
        "patience": settings.TOKENHUB_HANDOVER_PATIENCE,
    }
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, parameters)
        # Else PostgreSQL takes what the old connection has for a few rows, and looks at all of them time and again.
        cursor.execute("ANALYZE registry_registration")
    InteractionEvent.objects.filter(app=app, due_at__isnull=False).update(app=old)
    Pause.objects.filter(app=app).update(app=old)
    tokens = {"next_api_token": "", "former_api_token": ""}  # of the old connection
    MobileApp.objects.filter(pk=app.pk).update(
        **new, **tokens, connection_no=F("connection_no") + 1, batch_cleanup=True
    )
    announce(["replace", "cleanup", "confirm", "relay"])
    return old


def _free_slug(slug: str) -> str:
    """A slug that nobody could have typed in: `shop~1`."""
    names = (f"{slug[:60]}~{number}" for number in itertools.count(1))  # slugs have 64 characters at most
    return next(name for name in names if not MobileApp.objects.filter(slug=name).exists())


def _abandon(pk: int, note: str) -> tuple[int, int]:
    app = MobileApp.objects.defer(*secret_columns()).select_for_update(no_key=True).get(pk=pk)
    left = Registration.objects.filter(app=app).exclude(is_over())
    waiting = Erasure.objects.filter(state=ErasureState.WAITING, app=app.replaced_by_id)
    erasures = {erasure.pk: erasure for erasure in waiting.select_for_update().order_by("pk")}
    counts = left.filter(erasure__in=list(erasures)).order_by().values_list("erasure").annotate(Count("pk"))
    for receipt, count in counts:
        erasure = erasures[receipt]
        erasure.registrations += count
        erasure.not_cleaned_up += count
        erasure.note = "\n".join(filter(None, [erasure.note, f"{app.slug} was abandoned: {note}"]))
        erasure.due_at = timezone.now()
        erasure.save(update_fields=["registrations", "not_cleaned_up", "note", "due_at"])
    # Deleted, not retired: an answer that comes late finds nothing to look at again.
    registrations, _ = left.delete()
    events_left = InteractionEvent.objects.filter(app=app, due_at__isnull=False)
    event_counts.count((event, "abandoned", 1) for event in events_left.only("app", "occurred_at", "tracking_id"))
    events = events_left.update(
        state=EventState.NOT_RELAYED, reason=NotRelayedReason.ABANDONED, due_at=None, claim_no=F("claim_no") + 1
    )
    Pause.objects.filter(app=app).delete()
    MobileApp.objects.filter(pk=app.pk).update(
        note=note, written_off=F("written_off") + registrations, connection_no=F("connection_no") + 1
    )
    announce(["replace", "erase", "push"])
    return registrations, events
