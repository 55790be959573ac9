"""`python -m bench [SUITE…]`: measure, and keep the figures in .bench/ for `bench.report`."""

import importlib
import json
import sys

from bench.peers.setup import folder

SUITES = ("launch", "where", "sync", "events", "imports", "scale", "drain", "start", "admin", "servers")


def main(chosen: list[str]) -> None:
    """Run the suites that are named, or all."""
    for name in chosen or SUITES:
        if name not in SUITES:
            sys.exit(f"bench: {name} is not among: {', '.join(SUITES)}")
        rows = importlib.import_module(f"bench.{name}").measure()
        (folder() / f"{name}.json").write_text(json.dumps(rows, indent=1))
        print(json.dumps(rows, indent=1))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
