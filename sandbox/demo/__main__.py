"""`python -m sandbox.demo --phones 500`: simulated phones, the whole stack, and an exact comparison at the end."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from rich.console import Console

from sandbox.demo.drive import drive
from sandbox.demo.report import Display, show
from sandbox.demo.stack import ROOT, Stack
from sandbox.demo.terminal import run_on


def main(arguments: list[str] | None = None) -> int:
    """0 when everything agrees exactly, 1 when not, 2 when it could not be run, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="sandbox.demo", description=__doc__)
    parser.add_argument("--phones", type=int, default=500, help="how many (default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "var" / "demo", help="folder, wiped first (default: var/demo)"
    )
    parser.add_argument("--port", type=int, default=0, help="port of tokenhub (default: a free one)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same fleet (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the stack running at the end, until Ctrl-C")
    options = parser.parse_args(arguments)
    if options.phones < 1:
        parser.error("--phones must be at least 1")
    stack, console = Stack(options.data.resolve(), options.port), Console()
    return run_on(stack, console, "demo", lambda: _run(stack, console, options))


def _run(stack: Stack, console: Console, options: argparse.Namespace) -> int:
    began = time.monotonic()
    with Display(console, options.phones) as display:
        display.say(f"starting the stack (its log: {stack.log})")
        details = stack.wait_until_ready()
        stack.wait_until_working(details)
        started_in = time.monotonic() - began
        display.say(f"the stack is ready at {details.url}")
        run = asyncio.run(
            drive(stack, details, display, phones=options.phones, run_seed=options.seed, started_in=started_in)
        )
    show(console, run, stack.log)
    if options.keep:
        console.print(f"The stack goes on at {details.url} until Ctrl-C.", highlight=False)
        stack.wait_until_ended()
    return 0 if run.agrees else 1


if __name__ == "__main__":
    sys.exit(main())
