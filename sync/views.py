"""What Microsoft calls."""

import hmac
import json
import uuid
from typing import Any

from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from registry.models import Registration
from registry.ports import announce
from registry.services.api_tokens import known
from registry.states import RegistrationState
from sync import connect
from sync.clients.callbacks import SECRET_HEADER

MAX_BODY = 64 * 1024


@csrf_exempt
@require_POST
def callback(request: HttpRequest, batch_id: uuid.UUID) -> HttpResponse:
    """CI-J says that outcomes of a batch are there: poll now. What it says they are is not believed.

    202 with an empty body, also for a repeat and for a batch that is decided by now; 404 for everything that does not
    come from CI-J.
    """
    expected = connect.callback(batch_id)
    secret = request.headers.get(SECRET_HEADER, "")
    if expected is None or not hmac.compare_digest(secret.encode(), expected.secret.encode()):
        return HttpResponse(status=404)
    row = Registration.objects.filter(batch_id=batch_id, state=RegistrationState.SENT).select_related("app").first()
    if row is not None:
        signature = _signature(request)
        if not any(expected.is_signed(signature, token) for token in known(row.app)):
            return HttpResponse(status=404)
        Registration.objects.filter(
            batch_id=batch_id, state=RegistrationState.SENT, in_flight=False, due_at__gt=Now()
        ).update(due_at=Now())
        announce(["confirm"])
    return HttpResponse(status=202)


def _signature(request: HttpRequest) -> str:
    try:
        body: Any = json.loads(request.body) if len(request.body) <= MAX_BODY else None
    except (ValueError, RecursionError):
        return ""
    signature = body.get("Signature") if isinstance(body, dict) else None
    return signature if isinstance(signature, str) else ""
