"""Customer Insights - Journeys' push API.

Source: MicrosoftDocs/customer-insights, ci-docs/journeys/developer-push-device-registration.md and
developer-push-interactions.md. The ApiToken travels in the bodies, so no body is ever logged.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sync.clients.callbacks import Callback
from sync.clients.calls import Call, carrying
from sync.clients.errors import Denied, NotMade, RemoteError, Throttled, Unavailable
from sync.clients.http import Http, parse, plain

MAX_BATCH = 100
OPENED = 1


@dataclass(frozen=True)
class Connection:
    """Where an app's CI-J is and how to speak to it."""

    endpoint: str  # https://host[:port]
    org_id: uuid.UUID
    mobile_app_id: uuid.UUID
    api_token: str
    name: str = ""  # the app's slug

    def __repr__(self) -> str:
        return f"Connection({self.endpoint}, app {self.mobile_app_id})"  # never the ApiToken

    def url(self, path: str) -> str:
        return f"{self.endpoint}/api/v1.0/orgs/{self.org_id}/{path}"

    @property
    def identity(self) -> dict[str, str]:
        return {"MobileAppId": str(self.mobile_app_id), "ApiToken": self.api_token}


@dataclass(frozen=True)
class Pair:
    """A Dataverse user and one of their device tokens."""

    user_id: uuid.UUID
    platform: str  # ios or android
    token: str


class Status(StrEnum):
    PENDING = "Pending"
    SUCCESS = "Success"
    FAILED = "Failed"


@dataclass(frozen=True)
class Outcome:
    """What became of a tracked registration. `reason` is as CI-J wrote it."""

    status: Status
    reason: str = ""


class CijClient:
    """The calls of one app. Every method raises RemoteError (sync.clients.errors)."""

    def __init__(self, http: Http, connection: Connection, *, before_call: Callable[[], None]) -> None:
        self._http = http
        self._connection = connection
        self._before_call = before_call

    def register(self, pairs: Sequence[Pair], callback: Callback | None = None) -> list[uuid.UUID | None]:
        """Register up to 100 pairs, tracked; return the request ids in their order, None where one is missing.

        202 means accepted, not registered: ask `statuses` for the outcome. `callback` is where CI-J shall say that
        there is one.
        """
        bodies = [
            self._connection.identity
            | {"UserId": str(pair.user_id)}
            | {("ApnsDeviceToken" if pair.platform == "ios" else "FcmDeviceToken"): pair.token}
            for pair in pairs
        ]
        headers = {"x-ms-track-registration": "true"} | (callback.headers() if callback else {})
        answer = parse(self._post("register", "devices/batch", bodies, headers))
        if not isinstance(answer, list) or len(answer) != len(pairs):
            raise Unavailable("the answer does not hold one request id for each registration")
        return [_guid(item) for item in answer]

    def statuses(self, request_ids: Sequence[uuid.UUID]) -> list[Outcome]:
        """Ask for up to 100 outcomes; they come in the order of the ids."""
        body = self._connection.identity | {"RegistrationRequestIds": [str(guid) for guid in request_ids]}
        answer = parse(self._post("status", "devices/status/", body))
        if not isinstance(answer, list) or len(answer) != len(request_ids):
            raise Unavailable("the answer does not hold one outcome for each request id")
        return [_outcome(item) for item in answer]

    def check(self) -> None:
        """Ask about a request that nobody made. Raises Refused where ApiToken, mobile app id or org are wrong."""
        self.statuses([uuid.uuid4()])

    def clean_up(self, pairs: Sequence[Pair]) -> None:
        """Clean up to 100 pairs in one call. Refused where CI-J does not take the array form."""
        self._post("cleanup", "devices/cleanup/batch", [self._cleanup_body(pair) for pair in pairs])

    def clean_up_one(self, pair: Pair) -> None:
        """Clean one pair up. Always with its token: without it other devices of the user would go too."""
        self._post("cleanup_one", "devices/cleanup", self._cleanup_body(pair))

    def _cleanup_body(self, pair: Pair) -> dict[str, str]:
        return self._connection.identity | {"UserId": str(pair.user_id), "DeviceToken": pair.token}

    def _post(self, name: str, path: str, body: Any, headers: dict[str, str] | None = None) -> bytes:
        self._before_call()
        url = self._connection.url(f"pushdeviceregistration/{path}")
        return self._http.call("POST", url, headers=headers, body=body, call=Call(name, self._connection.name))


@dataclass(frozen=True)
class Opened:
    """One opened notification: its tracking id, the token that it came to, and the post that told of it."""

    tracking_id: str
    token: str
    asked_by: uuid.UUID | None


async def report_all_opened(
    http: Http,
    connection: Connection,
    events: Sequence[Opened],
    tell: Callable[[int, RemoteError | None], None],
    *,
    at_once: int,
    ends: float,
) -> None:
    """Report opened notifications, so many at once; tell of each (by number) None for accepted, or why not.

    There is no batch form, and PushNotificationStatus is sent as the integer 1: developer-push-interactions.md. None is
    begun after `ends` (the monotonic clock); nor after one was throttled or denied: the rest has that error, too; nor
    when as many one after the other as are in the air had no answer: the rest is not made.
    """
    url, call = connection.url("pushdatareceiver/events"), Call("event", connection.name)
    waiting = iter(enumerate(events))
    stop: RemoteError | None = None
    silent = 0

    async def lane() -> None:
        nonlocal stop, silent
        for number, event in waiting:
            if stop is None and (time.monotonic() > ends or silent >= at_once):
                stop = NotMade("not sent in time")
            if stop is not None:
                tell(number, stop)
                continue
            body = {"TrackingId": event.tracking_id, "DeviceToken": event.token, "PushNotificationStatus": OPENED}
            error: RemoteError | None = None
            try:
                with carrying([event.asked_by]):
                    await http.acall("POST", url, body=body, call=call)
            except RemoteError as failed:
                error = failed
            silent = silent + 1 if isinstance(error, Unavailable) else 0
            if isinstance(error, (Throttled, Denied)):
                stop = error
            tell(number, error)

    await asyncio.gather(*(lane() for _ in range(min(at_once, len(events)))))


def _guid(item: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(item["RegistrationRequestId"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _outcome(item: Any) -> Outcome:
    """A status that is not documented decides nothing: it counts as pending, with what it said."""
    status = item.get("Status") if isinstance(item, dict) else None
    reason = item.get("FailureReason") if isinstance(item, dict) else None
    try:
        known = Status(str(status).strip().capitalize())
    except ValueError:
        return Outcome(Status.PENDING, plain(str(status)))
    return Outcome(known, plain(reason) if isinstance(reason, str) else "")
