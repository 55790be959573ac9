"""`python -m sandbox.chaos --seed 1 --duration 120`: the whole stack under load, while everything is done to it."""

import argparse
import asyncio
import random
import socket
import sys
from pathlib import Path

from rich.console import Console

from sandbox.chaos.drive import HURRY, drive
from sandbox.chaos.report import Progress, show
from sandbox.demo.stack import ROOT, Stack
from sandbox.demo.terminal import run_on


def main(arguments: list[str] | None = None) -> int:
    """0 when nothing is lost, no ghost is left and no token ever had two owners; 1 when not, 2 when it could not be
    run, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="sandbox.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same schedule (default: 1)")
    parser.add_argument("--duration", type=float, default=120, help="seconds of chaos (default: %(default)s)")
    parser.add_argument("--phones", type=int, default=60, help="how many (default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "var" / "chaos", help="folder, wiped first (default: var/chaos)"
    )
    parser.add_argument("--port", type=int, default=0, help="port of tokenhub (default: a free one)")
    options = parser.parse_args(arguments)
    if options.phones < 1 or options.duration <= 0:
        parser.error("--phones and --duration must be above 0")
    port = options.port or _free_port()
    # CI-J calls back, so the address must be known before the stack is.
    hurry = HURRY | {"TOKENHUB_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    stack, console = Stack(options.data.resolve(), port, hurry), Console()
    return run_on(stack, console, "chaos run", lambda: _run(stack, console, options))


def _run(stack: Stack, console: Console, options: argparse.Namespace) -> int:
    progress = Progress(console)
    progress.say(f"starting the stack (its log: {stack.log})")
    details = stack.wait_until_ready()
    progress.say(f"the stack is ready at {details.url}")
    result = asyncio.run(
        drive(stack, details, progress, phones=options.phones, run_seed=options.seed, duration=options.duration)
    )
    show(console, result, stack.log)
    return 0 if result.agrees else 1


def _free_port() -> int:
    # Below the range that outgoing connections' ports are taken from: nobody sits on it while the web server restarts.
    for port in random.SystemRandom().sample(range(20000, 30000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("no port between 20000 and 30000 is free")


if __name__ == "__main__":
    sys.exit(main())
