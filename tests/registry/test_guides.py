"""The mobile guides name the API's fields, problems and paths as the document and the code have them."""

import re

import pytest
import yaml

from registry.api import problems
from registry.api.docs import OPENAPI
from tests.web import ROOT

GUIDES = ["docs/mobile/swift.md", "docs/mobile/kotlin.md", "docs/mobile/flutter.md", "clients/typescript/src/client.ts"]
DOCUMENT = yaml.safe_load(OPENAPI.read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
POSTED = [SCHEMAS[name] for name in ("Launch", "User", "Event", "SignOut")]
ANSWERED = [SCHEMAS[name] for name in ("LaunchResult", "SignOutResult", "EventsResult", "Problem")]
# What guides name in the same spelling as problems.
OTHERS = {"retry-after", "firebase-messaging", "kotlinx-coroutines", "react-native", "react-native-keychain"}
OTHERS |= {"react-native-get-random-values", "tokenhub-client"}


@pytest.mark.parametrize("guide", GUIDES)
def test_what_a_guide_posts_is_what_the_document_takes(guide: str) -> None:
    text = (ROOT / guide).read_text()
    code = "\n".join(re.findall(r"```(?:swift|kotlin|dart)\n(.*?)```", text, re.DOTALL)) or text
    fields = {field for schema in [*POSTED, *ANSWERED] for field in schema["properties"]}
    assert set(re.findall(r"""["']([a-z]+(?:_[a-z]+)+)["']""", code)) <= fields
    needed = {
        *SCHEMAS["Launch"]["required"],
        *SCHEMAS["Event"]["required"],
        "installation_id",
        "message_id",
        "sequence",
    }
    missing = {name for name in needed | {"occurred_at", "installation_secret"} if not re.search(rf"\b{name}\b", code)}
    assert not missing


@pytest.mark.parametrize("guide", [*GUIDES, "docs/mobile/README.md", "docs/mobile/react-native.md"])
def test_the_problems_and_paths_that_a_guide_names_are_there(guide: str) -> None:
    text = (ROOT / guide).read_text()
    kinds = set(re.findall(r"urn:tokenhub:problem:([a-z-]+)", (ROOT / problems.__file__).read_text()))
    named = set(re.findall(r"""["'`]([a-z]+(?:-[a-z]+)+)["'`]""", text))
    assert named - OTHERS <= kinds
    for path in re.findall(r"`POST (/\w+[^`]*)`", text):
        assert f"/api/v1{path}" in DOCUMENT["paths"]
