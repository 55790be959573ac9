"""What the document cannot say, for schemathesis: how its own formats look, and which valid values fit each other."""

import os
from typing import Any
from zoneinfo import available_timezones

import schemathesis
from hypothesis import strategies as st
from schemathesis.generation.meta import TestPhase

ADDRESSES = ["", "anna@example.com", "Bert.O'Hara+push@sub.example.co.uk", "jürgen@bücher.example", "用户@例え.jp"]
NUMBERS = ["", "+4930123456", "+1 (202) 555-0123", "+44 20 7946 0958"]
USER_IDS = ["anna", "käthe", "50%", "a/b", "..a", "a?b#c", "\U0001f600", "x" * 255]

USER_TOKEN = os.environ.get("CONTRACT_USER_TOKEN")
PROOF = {"MobileAppId": os.environ.get("CONTRACT_MOBILE_APP_ID"), "ApiToken": os.environ.get("CONTRACT_API_TOKEN")}
_secrets: dict[str, str] = {}

schemathesis.openapi.format("time-zone", st.sampled_from(["", *sorted(available_timezones())]))
schemathesis.openapi.format("email-address", st.sampled_from(ADDRESSES))
schemathesis.openapi.format("phone-number", st.sampled_from(NUMBERS))
schemathesis.openapi.format("user-id", st.sampled_from(USER_IDS))


@schemathesis.hook
def before_call(context: Any, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """What is meant to be valid is made so, where that hangs on more than its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    query: Any = case.query or {}
    body: Any = case.body
    if query.keys() >= {"since", "until"}:
        query["since"], query["until"] = sorted([query["since"], query["until"]])
    if "org_id" in case.path_parameters:
        case.path_parameters["org_id"] = os.environ["CONTRACT_ORG_ID"]
        for item in body if isinstance(body, list) else [body]:
            item |= {name: value for name, value in PROOF.items() if name in item}
        case.headers["x-ms-track-registration"] = "true"  # without it the answer is empty, which no schema can say
    if case.operation.label == "POST /api/v1.0/orgs/{org_id}/pushdatareceiver/events":
        body["DeviceToken"] = os.environ["CONTRACT_DEVICE_TOKEN"]
    if USER_TOKEN and isinstance(body, dict) and isinstance(body.get("user"), dict):
        consents = {name: value for name, value in body["user"].items() if name.endswith("_consent")}
        body["user"] = {"token": USER_TOKEN, **consents}  # so a phone names its user
    if case.operation.label == "POST /api/v1/devices" and case.meta.phase.name is TestPhase.STATEFUL:
        body.pop("sequence", None)  # an older one changes nothing, and a deleted device is not there after it
    if (secret := _secrets.get(_installation(case))) is not None:
        case.headers["Installation-Secret"] = secret


@schemathesis.hook
def after_call(context: Any, case: schemathesis.Case[Any], response: schemathesis.Response) -> None:
    """Keeps an installation's secret, as its phone does."""
    if b"installation_secret" in response.content:
        told = response.json()
        _secrets[told["installation_id"]] = told["installation_secret"]


def _installation(case: schemathesis.Case[Any]) -> Any:
    body = case.body if isinstance(case.body, dict) else {}
    return case.path_parameters.get("installation_id") or body.get("installation_id")
