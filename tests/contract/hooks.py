"""What the document cannot say, for schemathesis: how its own formats look, and which valid values fit each other."""

from typing import Any
from zoneinfo import available_timezones

import schemathesis
from hypothesis import strategies as st

ADDRESSES = ["", "anna@example.com", "Bert.O'Hara+push@sub.example.co.uk", "jürgen@bücher.example", "用户@例え.jp"]
NUMBERS = ["", "+4930123456", "+1 (202) 555-0123", "+44 20 7946 0958"]
USER_IDS = ["anna", "käthe", "50%", "a/b", "..a", "a?b#c", "\U0001f600", "x" * 255]

schemathesis.openapi.format("time-zone", st.sampled_from(["", *sorted(available_timezones())]))
schemathesis.openapi.format("email-address", st.sampled_from(ADDRESSES))
schemathesis.openapi.format("phone-number", st.sampled_from(NUMBERS))
schemathesis.openapi.format("user-id", st.sampled_from(USER_IDS))


@schemathesis.hook
def before_call(context: Any, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """What is meant to be valid is made so, where that hangs on more than its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    query = case.query or {}
    if query.keys() >= {"since", "until"}:
        query["since"], query["until"] = sorted([query["since"], query["until"]])
