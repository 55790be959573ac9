"""What the document's own formats look like; loaded by schemathesis."""

from zoneinfo import available_timezones

import schemathesis
from hypothesis import strategies as st

ADDRESSES = ["", "anna@example.com", "Bert.O'Hara+push@sub.example.co.uk", "jürgen@bücher.example", "用户@例え.jp"]
NUMBERS = ["", "+4930123456", "+1 (202) 555-0123", "+44 20 7946 0958"]

schemathesis.openapi.format("time-zone", st.sampled_from(["", *sorted(available_timezones())]))
schemathesis.openapi.format("email-address", st.sampled_from(ADDRESSES))
schemathesis.openapi.format("phone-number", st.sampled_from(NUMBERS))
