"""`python -m sandbox --data DIR [--host H] [--port N]`: the stand-in for Microsoft's side, in the foreground."""

import argparse
import asyncio
import fcntl
import os
import sys
from pathlib import Path
from typing import TextIO

from sandbox.files import DamagedError
from sandbox.identity import Identity
from sandbox.memory import Memory
from sandbox.server import bind, restore, serve


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT (0); 1 with a word on stderr where it cannot start."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder for credentials, the snapshot and sandbox.json"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0 (default): the one used last time, if it is free")
    options = parser.parse_args(arguments)
    folder = options.data.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Held until the process ends: two programs must not share one memory. What is in it outlives a run that was killed.
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _fail(f"another sandbox is running on {folder}")
        lock.seek(0)
        if lock.read():
            sys.stderr.write("The last run did not end cleanly: what it took in after its start is lost.\n")
        try:
            _run(folder, options.host, options.port, lock)
        except (DamagedError, OSError) as error:
            return _fail(str(error))
    return 0


def _run(folder: Path, host: str, port: int, lock: TextIO) -> None:
    identity = Identity.of(folder)
    memory = Memory()
    restore(memory, folder)
    listener = bind(host, port, identity.port)
    bound = listener.getsockname()[1]
    if bound != identity.port:
        identity = identity.with_port(bound)
        identity.keep(folder)
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    asyncio.run(serve(folder, identity, memory, listener))
    lock.truncate(0)


def _fail(message: str) -> int:
    sys.stderr.write(f"sandbox: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
