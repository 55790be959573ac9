"""Fetch the keys that users' tokens are signed with: now and then, and where a token names one that is not known.

A phone never waits for it: what was fetched last stays good until something better comes.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Min, Value
from django.db.models.functions import Coalesce, Now

from registry.models import TokenIssuer
from registry.services import clock
from registry.services.locking import in_transaction
from registry.services.user_tokens import jwks_keys
from sync import connect
from sync.clients import jwks
from sync.clients.errors import RemoteError, Unavailable
from sync.clients.http import plain

logger = logging.getLogger(__name__)

MAX_RETRY = timedelta(minutes=5)


def run_batch() -> int:
    """Fetch the keys of one issuer that is due; return how many."""
    issuer = in_transaction(_claim)
    if issuer is None:
        return 0
    claimed, begun = issuer.keys_due_at, clock.now()
    # Asked for or changed meanwhile: what was fetched may be too old, and it is due again.
    still_ours = TokenIssuer.objects.filter(pk=issuer.pk, keys_due_at=claimed)
    try:
        still_ours.update(
            keys=_fetch(issuer.jwks_url),
            keys_fetched_at=begun,
            keys_error="",
            keys_failing_since=None,
            keys_due_at=begun + settings.TOKENHUB_JWKS_REFRESH,
        )
    except RemoteError as error:
        logger.warning("app %d: signing keys not fetched: %s", issuer.app_id, error)
        still_ours.update(
            keys_error=plain(str(error)),
            keys_failing_since=Coalesce("keys_failing_since", Value(begun)),
            keys_due_at=begun + _retry_after(issuer.keys_failing_since, begun),
        )
    return 1


def next_due() -> datetime | None:
    """When the next issuer's keys are to be fetched."""
    waiting = TokenIssuer.objects.exclude(jwks_url="").filter(keys_due_at__gt=Now())
    due: datetime | None = waiting.aggregate(due=Min("keys_due_at"))["due"]
    return due


def _claim() -> TokenIssuer | None:
    due = TokenIssuer.objects.filter(keys_due_at__lte=Now()).exclude(jwks_url="").order_by("keys_due_at")
    issuer = due.select_for_update(skip_locked=True).first()
    if issuer is not None:
        issuer.keys_due_at = clock.now() + settings.TOKENHUB_LEASE
        issuer.save(update_fields=["keys_due_at"])
    return issuer


def _fetch(url: str) -> Any:
    document = jwks.fetch(connect.http(), url, settings.TOKENHUB_JWKS_PRIVATE_HOSTS)
    if not jwks_keys(document):
        raise Unavailable("the document holds no usable signing key")
    return document


def _retry_after(failing_since: datetime | None, now: datetime) -> timedelta:
    """Half of what it fails for already, within bounds."""
    least: timedelta = settings.TOKENHUB_JWKS_MIN_INTERVAL
    return least if failing_since is None else min(max((now - failing_since) / 2, least), MAX_RETRY)
