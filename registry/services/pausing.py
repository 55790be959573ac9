"""What rests now: the pauses that hold, without the failures that are only being counted."""

from datetime import datetime

from django.conf import settings
from django.db.models import Q, QuerySet

from registry.models import Pause, secret_columns
from registry.services.access import Scope
from registry.states import PauseReason


def next_probe(pause: Pause) -> datetime | None:
    """When one request tries whether the rest is over; None where only a person ends it."""
    return None if pause.reason == PauseReason.BY_HAND else pause.until


def all_open_pauses() -> QuerySet[Pause]:
    """Everything that rests, with its subject; no secret is read."""
    counting = Q(reason=PauseReason.UNAVAILABLE, failures__lt=settings.TOKENHUB_CIRCUIT_FAILURES) | Q(
        reason=PauseReason.DRY_RUN, failures__lt=settings.TOKENHUB_DRY_RUN_WAVE
    )
    # Nothing here needs a secret, and one that cannot be read must not hide what else is wrong.
    subjects = Pause.objects.select_related("app", "environment").defer(
        *secret_columns("app__"), "environment__client_secret"
    )
    return subjects.filter(~counting)


def of_scope(pauses: QuerySet[Pause], scope: Scope) -> QuerySet[Pause]:
    """Those of the apps that are seen, and of the Dataverse environments behind them."""
    seen = Q(app__in=scope.app_ids) | Q(environment__in=scope.environments())
    return pauses if scope.every else pauses.filter(seen)
