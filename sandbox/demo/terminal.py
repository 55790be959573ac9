"""A run at a terminal: a stack around it, and an exit status for each way in which it can end."""

import signal
from collections.abc import Callable

from rich.console import Console

from sandbox.demo.stack import DemoError, Stack


def run_on(stack: Stack, console: Console, what: str, run: Callable[[], int]) -> int:
    """The run's own exit status; 2 when `what` could not be run, 130 after Ctrl-C or SIGTERM. All is stopped then."""
    # Like Ctrl-C: what we started is stopped on the way out.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with stack:
            return run()
    except DemoError as error:
        console.print(f"[bold red]The {what} could not be run.[/]")
        console.print(f"{error}\nLogs: {stack.log}", highlight=False, soft_wrap=True, markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("Interrupted; everything is stopped.")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
