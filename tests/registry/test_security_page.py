"""docs/security.md names a test for every attack."""

import re

from tests.web import ROOT


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs/security.md").read_text()
    file = ""
    named = re.findall(r"`(test_\w+\.py|…)::(test_\w+)`", page)
    for where, test in named:
        file = file if where == "…" else where
        assert f"def {test}(" in (ROOT / "tests/registry" / file).read_text(), f"{file}::{test}"
    assert len(named) > 20
    for path in re.findall(r"`(tests/\S+?)`", page):
        assert (ROOT / path).exists(), path
