"""`make audit`: known weaknesses of what requirements.lock names, as pip-audit finds them.

Fails where one is known. Where the database of weaknesses cannot be asked it says so and does not fail: what is offline
must not stop a fix.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parent.parent / "requirements.lock"


def judge(report: Mapping[str, Any]) -> tuple[int, str]:
    """The exit status and the words for what pip-audit reports."""
    found, skipped = [], []
    for one in report["dependencies"]:
        if "skip_reason" in one:
            skipped.append(one["name"])
        for weakness in one.get("vulns", []):
            mended = ", ".join(weakness["fix_versions"]) or "no version yet"
            found.append(f"{one['name']} {one['version']}: {weakness['id']}, mended in {mended}")
    asked = len(report["dependencies"]) - len(skipped)
    if found:
        return 1, "\n".join(["audit: known weaknesses", *found])
    if not asked:
        return 0, "audit: NOT DONE: the index knows nothing about weaknesses of any package"
    words = f"audit: nothing is known against {asked} packages"
    return 0, words + (f"; could not ask about {', '.join(skipped)}" if skipped else "")


def main() -> int:
    """Ask, and say what came out."""
    asked = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes", "--disable-pip"]
    done = subprocess.run(
        [*asked, "--format=json", "--progress-spinner=off", "--timeout=10"], capture_output=True, text=True, check=False
    )
    try:
        status, words = judge(json.loads(done.stdout))
    except ValueError:
        status, words = 0, f"audit: NOT DONE: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}"
    print(words)  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main())
