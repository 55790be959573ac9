"""`make sbom`: what requirements.lock names as a CycloneDX document, each with its licence.

A lock file tells of no licence; docs/dependencies.md does, for the packages of every platform.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import is_expression, is_supported_id

ROOT = Path(__file__).parent.parent


def licences() -> dict[str, str]:
    """What docs/dependencies.md says of each package."""
    text = (ROOT / "docs/dependencies.md").read_text()
    return dict(re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE))


def bill() -> dict[str, Any]:
    """The document. Raises KeyError for a package whose licence is not known, ValueError where it is no CycloneDX."""
    asked = [sys.executable, "-m", "cyclonedx_py", "requirements", "--pyproject", "pyproject.toml"]
    done = subprocess.run(
        [*asked, "--output-reproducible", "requirements.lock"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    known = licences()
    for part in found["components"]:
        part["licenses"] = [choice(known[part["name"]])]
    from cyclonedx.validation.json import JsonStrictValidator  # takes seconds to import

    wrong = JsonStrictValidator(SchemaVersion.from_version(found["specVersion"])).validate_str(json.dumps(found))
    if wrong:
        raise ValueError(str(wrong))
    return found


def choice(licence: str) -> dict[str, Any]:
    """A licence as CycloneDX has it: by its SPDX name, as an expression of those, or in words."""
    if is_supported_id(licence):
        return {"license": {"id": licence}}
    return {"expression": licence} if is_expression(licence) else {"license": {"name": licence}}


def main() -> None:
    """Write sbom.json, and say what is in it."""
    found = bill()
    (ROOT / "sbom.json").write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    print(f"sbom.json: {len(found['components'])} packages, each with its licence")  # noqa: T201


if __name__ == "__main__":
    main()
