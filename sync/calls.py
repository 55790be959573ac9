"""Every call to Microsoft, counted and told in the log: to whom, how it went, and which changes it was made for."""

import structlog

from registry.services.counters import CALLS, Counter, Histogram
from sync.clients.calls import Made

MADE = Counter("tokenhub_calls_total", "Calls to Microsoft by how they went.", ["call", "subject", "outcome"])
SECONDS = Histogram("tokenhub_call_seconds", "How long calls to Microsoft took.", CALLS, ["call"])

logger = structlog.get_logger(__name__)


def note(made: Made) -> None:
    """Count a call and log it. Runs in the thread that all calls of the process share, so it waits for nobody."""
    MADE.add(made.call.name, made.call.subject, made.outcome)
    SECONDS.observe(made.seconds, made.call.name)
    say = logger.info if made.outcome == "ok" else logger.warning
    say(
        "call",
        call=made.call.name,
        subject=made.call.subject,
        outcome=made.outcome,
        seconds=round(made.seconds, 3),
        client_request_id=str(made.request_id),
        carries=[correlation_id.hex for correlation_id in made.carries],
        **({"detail": made.detail} if made.detail else {}),
    )
