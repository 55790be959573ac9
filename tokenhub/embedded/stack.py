"""What `manage.py up` runs, and in which order.

Django's settings are made when a process starts, and that of `up` started before there was a database. So whatever
needs one is a child; the children find the servers as every other command does, through `running.json`.
"""

import http.client
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tokenhub.embedded import ports, schema, state
from tokenhub.embedded.demo import Demo
from tokenhub.embedded.output import Output
from tokenhub.embedded.postgres import Postgres
from tokenhub.embedded.processes import Store, guarded
from tokenhub.embedded.state import REPOSITORY, Running, StackError
from tokenhub.embedded.supervisor import Program, StopRequested, Supervisor
from tokenhub.embedded.valkey import Valkey

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound to

# Whoever runs `up` as root knows that they do.
_QUIET_ABOUT_ROOT = ("-W", "ignore:You're running the worker with superuser privileges")


@dataclass(frozen=True)
class Options:
    """What the command line says. Port 0 means a free one, that of the last time if possible."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    sandbox: bool = False


def up(options: Options, stream: TextIO) -> None:
    """Run everything until Ctrl-C or SIGTERM, then end everything.

    Raises StackError (also AlreadyRunning) when it cannot be run, or when a child ends again and again.
    """
    output = Output(stream)
    supervisor = Supervisor(output)
    with state.hold_lock(options.data), supervisor.catching_signals():
        stack = _Stack(options, output, supervisor)
        try:
            stack.start()
            while True:
                stack.look_after()
        except StopRequested:
            pass  # what anybody may want at any time
        finally:
            output.line("up", "stopping")
            stack.stop()
        output.line("up", f"stopped; the data stay in {options.data}")


class _Stack:
    def __init__(self, options: Options, output: Output, supervisor: Supervisor) -> None:
        self._began = time.monotonic()
        self._data = options.data
        self._host = options.host
        self._output = output
        self._supervisor = supervisor
        self._env: Mapping[str, str] = {}
        self._ports = _RememberedPorts(options.data / "ports.json")
        self._port = self._ports.choose("web", options.host) if options.port == 0 else _free(options.port, options.host)
        self._demo = Demo(options.data) if options.sandbox else None
        self._seeded = 0  # the process number of the sandbox that knows the demo app

    def start(self) -> None:
        """Start everything, and return when it is ready."""
        # What a killed `up` left would mislead.
        state.forget_running(self._data)
        Demo(self._data).withdraw()
        if self._demo:
            # It needs nothing and takes its time, so it goes first.
            self._supervisor.start(Program("sandbox", self._demo.argv(), cwd=REPOSITORY))
        urls = self._start_stores()
        environment = self._environment()
        here = Running(os.getpid(), urls["DATABASE_URL"], urls["REDIS_URL"], self._url, environment)
        state.write_running(self._data, here)
        self._env = os.environ | environment | {"TOKENHUB_DATA": str(self._data), "PYTHONUNBUFFERED": "1"}
        if not schema.is_current(urls["DATABASE_URL"]):
            self._supervisor.run(self._manage("migrate", "--noinput"))
        web, *others = self._services()
        self._supervisor.start(web)
        password = self._seed()
        self._supervisor.wait(self._answers, name="web", timeout=60)
        # Phones wait for the web server only, so the others do not compete with it while it starts.
        for service in others:
            self._supervisor.start(service)
        if self._demo:
            self._demo.publish()
        self._greet(password)

    def look_after(self) -> None:
        """What there is to do a few times a second. Raises StackError and StopRequested, see Supervisor."""
        self._supervisor.tick()
        if self._sandbox_is_new():
            # The one before it was killed, and what it knew is lost.
            self._output.line("up", "telling the new sandbox of the demo app")
            self._seed()

    def stop(self) -> None:
        """End everything; what points others to it goes first."""
        if self._demo:
            self._demo.withdraw()
        self._supervisor.stop_all()
        state.forget_running(self._data)

    def _start_stores(self) -> dict[str, str]:
        """Start those servers, side by side, that the environment does not name. Returns both URLs."""
        stores: dict[str, Store] = {}
        if {"DATABASE_URL", "REDIS_URL"} - os.environ.keys():
            secrets = state.ensure_secrets(self._data)
            postgres = Postgres(self._data / "postgres", self._ports.choose("postgres"), secrets.postgres_password)
            valkey = Valkey(self._data / "valkey", self._ports.choose("valkey"), secrets.valkey_password)
            servers: dict[str, Store] = {"DATABASE_URL": postgres, "REDIS_URL": valkey}
            stores = {variable: store for variable, store in servers.items() if variable not in os.environ}
        for store in stores.values():
            store.prepare(lambda text: self._output.line("up", text))
            self._supervisor.start(
                Program(store.name, store.argv(), stop_signal=store.stop_signal, patience=60, hurried=5)
            )
        for store in stores.values():
            self._supervisor.wait(store.ready, name=store.name, timeout=60)
        given = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if name in os.environ}
        return given | {variable: store.url for variable, store in stores.items()}

    def _environment(self) -> dict[str, str]:
        """What the children, and every other command on this data folder, have beside their own environment."""
        environment = {}
        if self._host in _LOOPBACK:
            # Plain HTTP that nobody else can reach: the settings' defaults for the open world would only lock us out.
            environment = {"TOKENHUB_HTTPS": "false", "TOKENHUB_ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]"}
        if "DATABASE_URL" in os.environ:
            # Another command finds the external database through us; it needs the secrets that go with it.
            environment |= dict.fromkeys(("TOKENHUB_SECRET_KEY", "TOKENHUB_ENCRYPTION_KEYS"), "")
        environment = {name: os.environ.get(name, value) for name, value in environment.items()}
        if self._demo:
            self._supervisor.wait(self._sandbox_is_new, name="sandbox", timeout=60)
            environment |= self._demo.environment()
        return environment

    def _services(self) -> list[Program]:
        schedule = self._data / "beat" / "schedule"
        schedule.parent.mkdir(mode=0o700, exist_ok=True)
        threads = min(8, 2 * (os.cpu_count() or 1) + 1)  # granian thinks more unwise
        web = ["granian", "--interface", "wsgi", "--host", self._host, "--port", str(self._port), "--no-ws"]
        web += ["--workers", "1", "--blocking-threads", str(threads), "--workers-kill-timeout", "5"]
        web += ["--log-config", str(REPOSITORY / "tokenhub" / "granian.json")]
        celery = ["celery", "--quiet", "-A", "tokenhub"]
        worker = [*celery, "worker", "--pool", "prefork", "--loglevel", "INFO"]
        worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        urgent = [*worker, "--concurrency", "2", "--hostname", "urgent@%h", "--queues", "tokenhub.urgent"]
        worker += ["--concurrency", "3", "--queues", "tokenhub,tokenhub.events"]
        beat = [*celery, "beat", "--loglevel", "INFO", "--schedule", str(schedule)]
        return [
            self._service("web", [*web, "tokenhub.wsgi:application"]),
            # They finish the tasks that they have begun.
            self._service("worker", worker, patience=30, flags=_QUIET_ABOUT_ROOT),
            self._service("urgent", urgent, patience=30, flags=_QUIET_ABOUT_ROOT),
            self._service("beat", beat),
        ]

    def _service(self, name: str, words: list[str], patience: float = 10, flags: Sequence[str] = ()) -> Program:
        return Program(name, guarded([sys.executable, *flags, "-m", *words]), self._env, REPOSITORY, patience=patience)

    def _seed(self) -> str | None:
        """Make or renew the demo app. Returns the admin's password if this made it."""
        if not self._demo:
            return None
        self._seeded = self._supervisor.pid("sandbox")
        before = self._demo.admin_password()
        files = ("--sandbox", str(self._demo.description), "--out", str(self._demo.seed))
        self._supervisor.run(self._manage("seed_sandbox", *files, "--url", self._url))
        after = self._demo.admin_password()
        return after if after != before else None

    def _sandbox_is_new(self) -> bool:
        """Whether a sandbox runs that does not know the demo app yet."""
        if not self._demo:
            return False
        pid = self._supervisor.pid("sandbox")
        return pid != self._seeded and self._demo.ready(pid)

    def _manage(self, command: str, *words: str) -> Program:
        argv = [sys.executable, str(REPOSITORY / "manage.py"), command, *words]
        return Program(command, guarded(argv), self._env, REPOSITORY)

    @property
    def _url(self) -> str:
        host = _EVERYWHERE.get(self._host, self._host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    def _answers(self) -> bool:
        # Not by urllib, which would ask a proxy that the environment names.
        connection = http.client.HTTPConnection(_EVERYWHERE.get(self._host, self._host), self._port, timeout=5)
        try:
            connection.request("GET", "/livez")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    def _greet(self, password: str | None) -> None:
        admin = f"   user admin, password {password} (shown this once)" if password else ""
        lines = [
            f"ready after {time.monotonic() - self._began:.1f} s",
            f"  API    {self._url}/api/v1/   described at {self._url}/api/docs",
            f"  admin  {self._url}/admin/{admin}",
        ]
        if self._demo:
            lines.append(f"  demo   an app on the sandbox; its keys are in {self._data / 'demo.json'}")
        for line in [*lines, "Ctrl-C stops everything; the data stay."]:
            self._output.line("up", line)


class _RememberedPorts:
    """The same ports as last time where they are still free, so that addresses last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known: dict[str, int] = json.loads(path.read_text())
        except (OSError, ValueError):
            self._known = {}

    def choose(self, name: str, host: str = "127.0.0.1") -> int:
        try:
            port = ports.choose(self._known.get(name), host)
        except OSError as error:
            raise StackError(f"No port on {host} can be listened on: {error.strerror or error}.") from error
        if self._known.get(name) != port:
            self._known[name] = port
            state.write_private(self._path, self._known)
        return port


def _free(port: int, host: str) -> int:
    """The port itself. Raises StackError when it is taken or cannot be had."""
    if port not in range(1, 65536):
        raise StackError(f"{port} is not a port: one from 1 to 65535 can be listened on.")
    try:
        if ports.is_free(port, host):
            return port
    except OSError as error:
        raise StackError(f"Port {port} on {host} cannot be listened on: {error}.") from error
    raise StackError(
        f"Port {port} on {host} is in use. Stop what uses it, or choose another: --port 0 finds a free one."
    )
