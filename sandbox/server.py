"""Runs the application on uvicorn: sockets, TLS, the ticker, readiness, a clean end."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox import app, tls
from sandbox.callbacks import Sender
from sandbox.files import damaged_snapshot, read_snapshot, write_private, write_snapshot
from sandbox.identity import Identity
from sandbox.memory import Memory

# Dataverse takes URLs of 32,768 characters; h11's own limit for a request's head is 16 KiB.
MAX_HEAD = 128 * 1024
TICK = 0.05


class Protocol(H11Protocol):
    """Tells the application the connection's transport, by which a fault rule can cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's; the state is copied into the scope of every request on this connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Server(uvicorn.Server):
    """Says when it listens, and leaves the signals to `serve`, which has to write the snapshot after them."""

    def __init__(self, config: uvicorn.Config, listening: asyncio.Event) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then the event is set."""
        await super().startup(sockets)
        self._listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None are captured."""
        yield


def bind(host: str, port: int, preferred: int) -> socket.socket:
    """A listening socket on `port`; with port 0 on the preferred one, or on any where that is taken.

    OSError where `port` was asked for and is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [port] if port else [preferred, 0]:
        # With the protocol named, asyncio turns Nagle's algorithm off for what is accepted: 40 ms an answer otherwise.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
        except OSError:
            listener.close()
            if candidate == port:
                raise
        else:
            listener.setblocking(False)
            return listener
    raise OSError("no port is free")


def restore(memory: Memory, folder: Path) -> None:
    """Load what the last run held; DamagedError where the snapshot is no good."""
    path = folder / "snapshot.json"
    data = read_snapshot(path)
    if data is None:
        return
    try:
        memory.load(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged_snapshot(path, error) from error


async def serve(folder: Path, identity: Identity, memory: Memory, listener: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT, then write the snapshot and take `sandbox.json` away."""
    ca, ca_file = tls.authority(folder)
    context = tls.server_context(ca)
    server, listening = _server(memory, identity, context)

    def stop(*_: object) -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    sender = Sender(memory)
    helpers = [asyncio.create_task(_tick(memory, sender)), asyncio.create_task(sender.run())]
    for task in helpers:
        # They run for ever: one that ends has failed, and a sandbox without it would mislead.
        task.add_done_callback(stop)
    announcement = asyncio.create_task(_announce(folder, identity, ca_file, listening))
    await server.serve(sockets=[listener])
    for task in (*helpers, announcement):
        task.cancel()
    ended = await asyncio.gather(*helpers, announcement, return_exceptions=True)
    write_snapshot(folder / "snapshot.json", memory.dump())
    (folder / "sandbox.json").unlink(missing_ok=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


def _server(memory: Memory, identity: Identity, context: ssl.SSLContext) -> tuple[Server, asyncio.Event]:
    listening = asyncio.Event()
    config = uvicorn.Config(
        app.build(memory, identity),
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        ssl_context_factory=lambda *_: context,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=2,
        backlog=2048,
        server_header=False,
    )
    return Server(config, listening), listening


async def _tick(memory: Memory, sender: Sender) -> None:
    while True:
        memory.player.play(memory, time.monotonic())
        memory.cij.work_off(time.time())
        sender.collect()
        await asyncio.sleep(TICK)


async def _announce(folder: Path, identity: Identity, ca_file: Path, listening: asyncio.Event) -> None:
    await listening.wait()
    url = f"https://localhost:{identity.port}"
    content: dict[str, Any] = {
        "url": url,
        "ca_file": str(ca_file),
        "pid": os.getpid(),
        "tenant": identity.tenant,
        "client_id": identity.client_id,
        "client_secret": identity.client_secret,
        "admin_token": identity.admin_token,
    }
    path = folder / "sandbox.json"
    write_private(path, json.dumps(content, indent=1))
    sys.stdout.write(f"The stand-in for Microsoft's side is ready at {url} (details in {path})\n")
    sys.stdout.flush()
