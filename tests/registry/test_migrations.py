"""Migrations run while the old version does: what it could not live with, or would have to wait for, is refused."""

import re
import warnings
from pathlib import Path

import pytest
from django.db.migrations import Migration
from django_migration_linter import MigrationLinter

# Until there is a version to upgrade from, no old one runs. To be set to the last number at the first release
# (CONTRIBUTING.md): what comes after has to pass.
BEFORE_THE_FIRST_RELEASE = 30
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
# Warnings of the linter that hold everybody up where the table is big.
WAITS = ["CREATE_INDEX", "CREATE_INDEX_EXCLUSIVE", "DROP_INDEX", "REINDEX"]

pytestmark = pytest.mark.django_db


def linter() -> MigrationLinter:
    return MigrationLinter(include_apps=["registry"], no_cache=True, no_output=True, warnings_as_errors_tests=WAITS)


def is_refused(migration: Migration) -> bool:
    found = linter()
    with warnings.catch_warnings(action="ignore"):
        found.lint_migration(migration)
    return bool(found.has_errors)


def test_no_migration_since_the_first_release_harms_the_version_that_runs_meanwhile() -> None:
    ours = [one for one in linter().migration_loader.disk_migrations.values() if one.app_label == "registry"]
    assert len(ours) > 15
    if re.search(r"^## \[\d", CHANGELOG.read_text(), re.MULTILINE):
        assert max(int(one.name[:4]) for one in ours) >= BEFORE_THE_FIRST_RELEASE, "it would let the next ones pass"
    later = [one for one in ours if int(one.name[:4]) > BEFORE_THE_FIRST_RELEASE]
    assert [one.name for one in later if is_refused(one)] == []


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("0004_change_tracking", True),  # a column that the old version does not fill
        ("0014_lists", True),  # an index built while everybody waits
        ("0017_alerts", False),  # new tables
        ("0016_correlation", False),  # columns that may be empty
    ],
)
def test_the_linter_knows_what_harms(name: str, refused: bool) -> None:
    assert is_refused(linter().migration_loader.disk_migrations["registry", name]) is refused
