"""What people paste from the Developer information tab of a mobile app in Customer Insights - Journeys.

The tab has changed its words before, and some paste a sample call or a JSON body instead: a value is known by the label
in front of it, or by its form where that leaves no doubt. What is not sure is left to be typed in.
"""

import re

_GUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_PATTERNS = (
    ("org_id", rf"/orgs/({_GUID})"),
    ("org_id", rf"\borg\w*[\s_-]*id\w*\W{{1,20}}({_GUID})"),
    ("mobile_app_id", rf"\b(?:mobile\s*)?app(?:lication)?[\s_-]*id\w*\W{{1,20}}({_GUID})"),
    ("endpoint", r"((?:https://)?[a-z0-9.-]+\.mkt\.dynamics\.com)\b"),
    ("endpoint", r"\bendpoint\W{1,20}((?:https://)?[a-z0-9.-]+\.[a-z]{2,}(?::\d+)?)"),
    ("api_token", r"\b(?:api|access)?[\s_-]*token\W{1,5}?\s*[\"']?([^\s\"',;{}]{8,})"),
)


def parse(text: str) -> dict[str, str]:
    """The values that the text tells for sure: org_id, mobile_app_id, endpoint, api_token."""
    found: dict[str, str] = {}
    for name, pattern in _PATTERNS:
        match = re.search(pattern, text[:20_000], re.IGNORECASE)
        if match:
            found.setdefault(name, match[1])
    return found
