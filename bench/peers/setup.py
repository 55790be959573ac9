"""The peers' environments, made once in .bench/ from the registries, at pinned versions."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.machine import ROOT, Stores

FOLDER = ROOT / ".bench"
PYTHON = FOLDER / "django" / "bin" / "python"
PINNED = (
    "django==6.1.3",
    "djangorestframework==3.18.3",
    "fcm-django==3.2.0",
    "django-push-notifications==3.3.0",
    "psycopg[binary,pool]==3.3.9",
    "granian==2.8.7",
)


def install() -> None:
    """Make what is not there yet."""
    home = PYTHON.parents[1]
    venv = ("uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(home))
    once(home, PINNED, venv, ("uv", "pip", "install", "--quiet", "--python", str(PYTHON), *PINNED))


def once(home: Path, pinned: Sequence[str], *steps: Sequence[str]) -> None:
    """Take these steps, which bring the pinned versions into a folder, where they are not there already. `uv` in them
    is the one that brought tokenhub's own requirements."""
    mark = home / ".installed"
    if mark.exists() and mark.read_text().split() == list(pinned):
        return
    found = subprocess.run([ROOT / "deploy/bootstrap.sh", "--uv"], check=True, stdout=subprocess.PIPE, text=True)
    for program, *words in steps:
        subprocess.run([found.stdout.strip() if program == "uv" else program, *words], check=True)
    mark.write_text("\n".join(pinned))


def prepare(stores: Stores, devices: int) -> str:
    """Make the libraries' tables and devices; return the token that their API takes."""
    done = subprocess.run(
        [str(PYTHON), "-m", "bench.peers.django_libraries", str(devices)],
        env={**stores.environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return str(json.loads(done.stdout)["token"])


def environment(stores: Stores) -> dict[str, str]:
    """What a peer's server is started with."""
    names = ("PATH", "HOME", "LANG")
    given = {name: os.environ[name] for name in names if name in os.environ}
    return given | {"DATABASE_URL": stores.database_url, "PYTHONPATH": str(ROOT)}


def folder() -> Path:
    """Where what was measured is kept until it is written up."""
    FOLDER.mkdir(exist_ok=True)
    return FOLDER
