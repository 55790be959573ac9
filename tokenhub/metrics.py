"""`/metrics` for Prometheus: read from the tables and from Valkey at each scrape. Every process answers the same."""

import hmac
from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from registry.models import AlertMessage, Erasure, MobileApp, secret_columns
from registry.services.pausing import all_open_pauses
from registry.states import ErasureState
from sync.alerts import open_alerts
from sync.status import oldest_due
from tokenhub.collectors import ValkeyCollector


class TablesCollector(Collector):
    """Gauges of what sync_status shows."""

    def collect(self) -> Iterator[Metric]:
        try:
            found = list(self._all())
        except DatabaseError:
            found = []
        yield GaugeMetricFamily("tokenhub_database_up", "Whether PostgreSQL answers.", value=float(bool(found)))
        yield from found

    def _all(self) -> Iterator[Metric]:
        alerts = GaugeMetricFamily("tokenhub_alert", "Needs a person: see the runbook.", labels=["kind", "subject"])
        for alert in open_alerts():
            alerts.add_metric([alert.kind.value, alert.subject], 1)
        yield alerts
        paused = GaugeMetricFamily(
            "tokenhub_paused", "Calls rest.", labels=["app", "platform", "environment", "reason"]
        )
        for pause in all_open_pauses():
            subject = [str(pause.app or ""), pause.platform, str(pause.environment or "")]
            paused.add_metric([*subject, pause.reason], 1)
        yield paused
        oldest = GaugeMetricFamily(
            "tokenhub_oldest_due_seconds",
            "How long the oldest of what is due waits; 0: nothing is due.",
            labels=["app", "step"],
        )
        now = timezone.now()
        for app in MobileApp.objects.defer(*secret_columns()).order_by("slug"):
            for step, age in oldest_due(app, now).items():
                oldest.add_metric([app.slug, step], age or 0.0)
        yield oldest
        waiting = Erasure.objects.filter(state=ErasureState.WAITING).count()
        yield GaugeMetricFamily("tokenhub_erasures_waiting", "Erasures that wait for CI-J's acceptance.", value=waiting)
        untold = AlertMessage.objects.filter(due_at__isnull=False).count()
        yield GaugeMetricFamily(
            "tokenhub_alert_messages_waiting", "Messages that were not delivered yet.", value=untold
        )


_registry = CollectorRegistry()
_registry.register(TablesCollector())
_registry.register(ValkeyCollector())


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics as text. 404 unless TOKENHUB_METRICS_TOKEN is set, 401 without it as the bearer token."""
    token = settings.TOKENHUB_METRICS_TOKEN
    if not token:
        return HttpResponse(status=404)
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return HttpResponse(status=401, headers={"WWW-Authenticate": 'Bearer realm="tokenhub metrics"'})
    return HttpResponse(generate_latest(_registry), content_type=CONTENT_TYPE_LATEST)
