"""What needs a person now, read from the tables: there is nothing to acknowledge, an alert ends when its cause does."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db.models import Count, Min, Q

from registry.models import Erasure, MobileApp, Pause, Registration, TokenIssuer, secret_columns
from registry.services import clock
from registry.services.access import EVERYTHING, Scope
from registry.services.pausing import all_open_pauses, next_probe, of_scope
from registry.states import ErasureState, FailureReason, PauseReason, RegistrationState
from sync.status import oldest_due, subject_of

PLAN = "plan"  # speaks to nobody, so it never rests
MAP = "map"  # the one step that rests with the Dataverse environment, not with the app


class Kind(StrEnum):
    """What is wrong. docs/runbook.md says for each what to do."""

    PAUSED = "paused"
    STALLED = "stalled"
    ERASURE_OVERDUE = "erasure_overdue"
    UNKNOWN_OUTCOME = "unknown_outcome"
    SIGNING_KEYS = "signing_keys"


@dataclass(frozen=True)
class Alert:
    """Something that is wrong since a time, and who must do what about it. Holds no personal data and no secret."""

    kind: Kind
    subject: str
    since: datetime
    what: str
    to_do: str

    @property
    def title(self) -> str:
        """The kind, as people read it."""
        return self.kind.replace("_", " ").capitalize()


_MEND = {
    PauseReason.THROTTLED: "Nobody, at first: it goes on by itself. Where it comes back, lower the app's call rate.",
    PauseReason.CREDENTIALS: (
        "An administrator: renew the client secret in Entra ID, or the ApiToken in Customer Insights - Journeys, and "
        "store it with manage.py set_client_secret or set_api_token."
    ),
    PauseReason.CONFIGURATION: (
        "An administrator: compare org, mobile app id and ApiToken with the app's Developer information tab; "
        "manage.py set_api_token stores a new ApiToken."
    ),
    PauseReason.UNAVAILABLE: "Operations: see whether Microsoft's side and the way there are up. It goes on by itself.",
    PauseReason.MAPPINGS_LOST: (
        "An administrator: give tokenhub's application user its read privileges back. Were the records really deleted, "
        "accept that with manage.py resume_app."
    ),
    PauseReason.DRY_RUN: (
        "An administrator: renew the app's push credentials (APNs or Firebase) in Customer Insights - Journeys."
    ),
    PauseReason.BY_HAND: "Whoever paused it: resume it on the app's page, or with manage.py resume_app.",
}


_GONE = (
    " This connection was replaced: where its Customer Insights - Journeys is gone for good, give up what is left "
    "there with manage.py abandon_connection --app {} --note TEXT."
)


def open_alerts(scope: Scope = EVERYTHING) -> list[Alert]:
    """Everything that needs a person now, the oldest first, of the apps that are seen."""
    now = clock.now()
    pauses = list(of_scope(all_open_pauses(), scope))
    alerts = [*_paused(pauses), *_stalled(pauses, now, scope), *_overdue(now, scope), *_unknown(scope)]
    alerts += _signing_keys(now, scope)
    return sorted(alerts, key=lambda alert: alert.since)


def _paused(pauses: list[Pause]) -> Iterator[Alert]:
    for pause in pauses:
        detail = f" [{pause.detail}]" if pause.detail else ""
        platform = f" ({pause.platform})" if pause.platform else ""
        probe = next_probe(pause)
        gone = _GONE.format(pause.app.slug) if pause.app and pause.app.replaced_by_id else ""
        yield Alert(
            Kind.PAUSED,
            f"{subject_of(pause)}{platform}",
            pause.created_at,
            f"{pause.get_reason_display()}{detail}{f'; next probe {probe:%Y-%m-%d %H:%M:%S} UTC' if probe else ''}.",
            _MEND.get(PauseReason(pause.reason), "") + gone,
        )


def _stalled(pauses: list[Pause], now: datetime, scope: Scope) -> Iterator[Alert]:
    """Queues that do not move although nothing rests: the workers are down, too few, or fail."""
    apps = {pause.app_id for pause in pauses}
    environments = {pause.environment_id for pause in pauses}
    for app in scope.limit(MobileApp.objects.defer(*secret_columns()), "pk").order_by("slug"):
        for step, age in oldest_due(app, now).items():
            rests = step != PLAN and (app.dataverse_id in environments if step == MAP else app.pk in apps)
            if age is None or rests or age <= settings.TOKENHUB_STALLED_AFTER.total_seconds():
                continue
            yield Alert(
                Kind.STALLED,
                f"app {app}: {step}",
                now - timedelta(seconds=age),
                f"The oldest of what is due waits for {age / 60:.0f} min, and nothing is paused.",
                "Operations: see whether the workers run, whether there are enough, and what their log says.",
            )


def _overdue(now: datetime, scope: Scope) -> Iterator[Alert]:
    hours = settings.TOKENHUB_ERASURE_OVERDUE
    waiting = Erasure.objects.filter(state=ErasureState.WAITING, requested_at__lt=now - hours)
    overdue = scope.limit(waiting, "app")
    for slug, count in overdue.order_by("app__slug").values_list("app__slug").annotate(Count("pk")):
        oldest = overdue.filter(app__slug=slug).order_by("requested_at")[0]
        yield Alert(
            Kind.ERASURE_OVERDUE,
            f"app {slug}",
            oldest.requested_at,
            f"{count} erasures wait for Customer Insights - Journeys for more than {hours.total_seconds() / 3600:g} h, "
            f"the oldest with receipt {oldest.pk}.",
            "An administrator: mend what keeps the cleanup from being accepted (see the app's other alerts), or force "
            "the end with manage.py erasure RECEIPT --force --note TEXT.",
        )


def _unknown(scope: Scope) -> Iterator[Alert]:
    unknown = Registration.objects.filter(
        state=RegistrationState.FAILED, reason=FailureReason.UNKNOWN.value, desired=True
    )
    found = scope.limit(unknown, "app").order_by("app__slug").values_list("app__slug")
    for slug, count, since in found.annotate(Count("pk"), Min("decided_at")):
        yield Alert(
            Kind.UNKNOWN_OUTCOME,
            f"app {slug}",
            since,
            f"{count} registrations failed since Customer Insights - Journeys never said what became of them.",
            "An administrator: check the ApiToken first (manage.py set_api_token), then whether the CRM is throttled; "
            "then manage.py resume_app tries them again.",
        )


def _signing_keys(now: datetime, scope: Scope) -> Iterator[Alert]:
    """At once where there are no keys to go on with; otherwise when it fails for long."""
    urgent = Q(keys__isnull=True) | Q(keys_failing_since__lt=now - settings.TOKENHUB_STALLED_AFTER)
    failing = TokenIssuer.objects.filter(urgent, keys_failing_since__isnull=False)
    for issuer in scope.limit(failing, "app").defer("secret").select_related("app").order_by("app__slug"):
        fetched = issuer.keys_fetched_at
        known = f"those of {fetched.isoformat(timespec='seconds')} are used" if fetched else "no phone can name a user"
        yield Alert(
            Kind.SIGNING_KEYS,
            f"app {issuer.app.slug}",
            issuer.keys_failing_since or now,
            f"The keys of the users' tokens cannot be fetched ({issuer.keys_error}); {known}.",
            "An administrator: see whether the JWKS URL is right and answers; manage.py set_token_issuer changes it.",
        )
