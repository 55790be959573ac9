"""Where everything that is installed comes from, why it is there, and under which licence."""

import importlib.metadata
import re
import tomllib

import pytest

from tests.audit import judge
from tests.sbom import choice, licences
from tests.web import ROOT

COPYLEFT = ("GPL", "GNU", "AGPL", "SSPL", "BUSL")
# Used as libraries, unchanged, which the LGPL allows of any program.
KNOWN = {"psycopg", "psycopg-binary", "psycopg-pool"}


def documented() -> dict[str, tuple[str, str]]:
    """What docs/dependencies.md says of each package: its licence, and why it is there."""
    text = (ROOT / "docs/dependencies.md").read_text()
    return {
        name: (licence, why)
        for name, licence, why in re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    }


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[><=~ ;]", requirement)[0] for requirement in requirements}


def test_every_dependency_has_a_reason_and_a_licence_and_none_is_listed_that_is_gone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    direct = names(project["project"]["dependencies"])
    direct |= names([one for extra in project["project"]["optional-dependencies"].values() for one in extra])
    direct |= names(project["dependency-groups"]["dev"])
    installed = set(
        re.findall(r"^([a-z0-9-]+)(?:\[[\w,-]+\])?==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    )
    found = documented()
    assert set(found) == direct | installed
    assert all(len(why.strip()) > 8 for _, why in found.values())


def test_no_licence_of_the_server_binds_whoever_runs_it() -> None:
    installed = set(
        re.findall(r"^([a-z0-9-]+)(?:\[[\w,-]+\])?==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    )
    looked_at = 0
    for name in installed:
        try:
            about = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        looked_at += 1
        told = " ".join([about.get("License-Expression") or "", *about.get_all("Classifier", [])])
        assert name in KNOWN or not any(word in told for word in COPYLEFT), (name, told)
    assert looked_at > 50


def test_every_locked_package_has_its_licence_in_the_bill_of_materials_by_its_name_of_spdx() -> None:
    locked = re.findall(r"^([a-z0-9-]+)(?:\[[\w,-]+\])?==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    told = {name: choice(licences()[name]) for name in locked}
    assert told["msal"] == {"license": {"id": "MIT"}}
    assert told["structlog"] == {"expression": "MIT OR Apache-2.0"}
    unnamed = {name for name, licence in told.items() if "name" in licence.get("license", {})}
    assert unnamed == {"httpx2-jsfetch"}  # never installed


WEAK = {"name": "django", "version": "6.1.3", "vulns": [{"id": "PYSEC-2027-1", "fix_versions": ["6.1.4"]}]}


@pytest.mark.parametrize(
    ("dependencies", "status", "says"),
    [
        ([WEAK], 1, "django 6.1.3: PYSEC-2027-1, mended in 6.1.4"),
        ([{"name": "django", "version": "6.1.3", "vulns": []}], 0, "nothing is known against 1 packages"),
        ([{"name": "django", "skip_reason": "not found"}], 0, "NOT DONE"),
    ],
)
def test_an_audit_fails_for_what_is_known_and_not_for_want_of_an_answer(
    dependencies: list[dict[str, object]], status: int, says: str
) -> None:
    told = judge({"dependencies": dependencies})
    assert told[0] == status
    assert says in told[1]
