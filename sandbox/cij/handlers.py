"""The calls of CI-J's push API."""

import hmac
import uuid
from dataclasses import dataclass
from typing import Any

from sandbox.cij import validation as check
from sandbox.cij.processing import Decision, Wanted
from sandbox.memory import Memory
from sandbox.wire import Answer, Incoming, RefusedError

# The troubleshooting article quotes two of the reasons as sentences.
_SENTENCES = {
    "ApiTokenNotValid": "Provided API token is not valid",
    "DryRunSendingFailed": "Sending a test invisible notification failed",
}
_PENDING = Decision("Pending", None)


def register(memory: Memory, call: Incoming) -> Answer:
    """POST …/pushdeviceregistration/devices: 202, with the request's id where it is tracked."""
    headers = _Headers.of(memory, call)
    request_id = _register_one(memory, call, headers, call.payload)
    return Answer(202, {"RegistrationRequestId": request_id} if headers.tracked else None)


def register_batch(memory: Memory, call: Incoming) -> Answer:
    """POST …/pushdeviceregistration/devices/batch: 202, with the ids in the order of the request."""
    headers = _Headers.of(memory, call)
    rows = check.batch(call.payload)
    if memory.settings.batch_bad_item == "refuse":
        for row in rows:
            _known(memory, call, check.device(row))
    ids: list[str] = []
    for row in rows:
        try:
            ids.append(_register_one(memory, call, headers, row))
        except RefusedError:
            # The variant in which a bad item is swallowed: nothing is stored, its id stays pending for ever.
            ids.append(str(uuid.uuid4()))
    return Answer(202, [{"RegistrationRequestId": item} for item in ids] if headers.tracked else None)


def status(memory: Memory, call: Incoming) -> Answer:
    """POST …/pushdeviceregistration/devices/status/: 200 and the outcomes in the order of the ids.

    An id that is not known is pending: nothing is stored of a registration whose ApiToken was wrong.
    """
    mobile_app_id, api_token, ids = check.status_query(call.payload)
    if not _token_matches(memory, call, mobile_app_id, api_token):
        raise check.bad_request("The ApiToken is not valid.")
    style = memory.settings.failure_reason_style
    return Answer(200, [decision_json(memory.cij.decided.get(item, _PENDING), style) for item in ids])


def decision_json(decision: Decision, style: str) -> dict[str, str | None]:
    """`{"Status", "FailureReason"}` as the status call and the callback give it; `style` as in the settings."""
    reason = decision.reason
    if reason and style == "blanks":
        reason = f" {reason} "
    elif reason and style == "sentence":
        reason = _SENTENCES.get(reason, reason)
    return {"Status": decision.status, "FailureReason": reason}


def cleanup(memory: Memory, call: Incoming) -> Answer:
    """POST …/pushdeviceregistration/devices/cleanup: 202 and an empty body."""
    request = check.cleanup(call.payload)
    _clean_up(memory, call, [request])
    return Answer(202)


def cleanup_batch(memory: Memory, call: Incoming) -> Answer:
    """POST …/pushdeviceregistration/devices/cleanup/batch: today's single object, or an array where supported."""
    if isinstance(call.payload, list) and not memory.settings.batch_cleanup_supported:
        raise check.bad_request("A JSON object is expected.")
    rows = check.batch(call.payload) if isinstance(call.payload, list) else [call.payload]
    _clean_up(memory, call, [check.cleanup(row) for row in rows])
    return Answer(202)


def event(memory: Memory, call: Incoming) -> Answer:
    """POST …/pushdatareceiver/events: 202 and an empty body. No ApiToken is asked for."""
    tracking_id, device_token, event_status = check.event(call.payload)
    if not any(app.org_id == call.org_id for app in memory.apps.values()):
        raise check.bad_request("The organisation is not known.")
    memory.journal.event(call.org_id or "", tracking_id, device_token, event_status)
    return Answer(202)


@dataclass(frozen=True, slots=True)
class _Headers:
    tracked: bool
    callback_url: str | None
    callback_headers: dict[str, str]

    @classmethod
    def of(cls, memory: Memory, call: Incoming) -> "_Headers":
        url = call.headers.get(memory.settings.callback_header) or None
        return cls(check.tracking(call.headers), url, check.callback_headers(call.headers) if url else {})


def _known(memory: Memory, call: Incoming, request: check.Device | check.Cleanup) -> bool:
    """Whether the ApiToken is right; refuses (400) an app or organisation that CI-J does not have."""
    valid = _token_matches(memory, call, request.mobile_app_id, request.api_token)
    if not valid and isinstance(request, check.Device) and memory.settings.unauthorized_registration == "refuse":
        raise check.bad_request("The ApiToken is not valid.")
    return valid


def _token_matches(memory: Memory, call: Incoming, mobile_app_id: str, api_token: str) -> bool:
    app = memory.apps.get(mobile_app_id)
    if app is None or app.org_id != call.org_id:
        raise check.bad_request("The mobile app is not known in this organisation.")
    return hmac.compare_digest(app.api_token.encode(), api_token.encode())


def _register_one(memory: Memory, call: Incoming, headers: _Headers, row: Any) -> str:
    device = check.device(row)
    valid = _known(memory, call, device)
    request_id = str(uuid.uuid4())
    if valid or memory.settings.unauthorized_registration == "fail":
        work = Wanted(
            device.mobile_app_id,
            device.user_id,
            device.token,
            device.platform,
            call_seq=call.seq,
            request_id=request_id if headers.tracked else None,
            forced=call.outcome if valid else "ApiTokenNotValid",
            callback_url=headers.callback_url,
            callback_headers=headers.callback_headers or None,
            api_token=device.api_token if headers.callback_url else None,
        )
        memory.cij.accept(work, call.at + memory.settings.processing_delay)
    return request_id


def _clean_up(memory: Memory, call: Incoming, requests: list[check.Cleanup]) -> None:
    valid = [_known(memory, call, request) for request in requests]
    if not all(valid) and memory.settings.unauthorized_cleanup == "refuse":
        raise check.bad_request("The ApiToken is not valid.")
    due = call.at + memory.settings.cleanup_delay
    for request, is_valid in zip(requests, valid, strict=True):
        if is_valid:
            work = Wanted(request.mobile_app_id, request.user_id, request.token, None, call_seq=call.seq)
            memory.cij.accept(work, due)
