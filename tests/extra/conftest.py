"""What needs programs that are no Python packages: `make test-extra`."""

import shutil

import pytest

from tests.sandbox_process import sandbox, world  # noqa: F401 fixtures


def program(name: str, package: str) -> str:
    """Where a program is. Fails, and says what to install, where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing. On Debian: apt-get install {package}", pytrace=False)
    return found
