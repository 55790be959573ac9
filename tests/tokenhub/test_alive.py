"""What a probe of workers and beat asks: that of a real worker's main loop is in tests/journeys/test_workers.py."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
import redis
from pytest_django import Settings

from registry.services import vitals
from tests.web import ROOT
from tokenhub import celery


def alive(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = os.environ | {"TOKENHUB_ALIVE_PATH": str(path)} | environment
    return subprocess.run([ROOT / "deploy/run", "alive"], env=given, capture_output=True, text=True, check=False)


@pytest.fixture
def mark(settings: Settings, tmp_path: Path) -> Path:
    settings.TOKENHUB_ALIVE_PATH = str(tmp_path / "alive")
    return tmp_path / "alive"


def test_the_probe_fails_for_a_process_that_has_not_gone_round_for_two_minutes(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    assert alive(mark).returncode != 0, "it never began"
    mark.touch()
    assert alive(mark).returncode == 0
    long_ago = time.time() - 500
    os.utime(mark, (long_ago, long_ago))
    done = alive(mark)
    assert done.returncode == 1
    assert done.stderr.startswith("has not gone round for 50")
    assert alive(mark, TOKENHUB_SWEEP_SECONDS="300").returncode == 0, "beat has no more to do"


def test_beat_leaves_its_mark_with_each_sweep(mark: Path) -> None:
    celery._sweep_was_sent()
    assert mark.exists()


def test_a_process_is_not_ended_for_valkey_s_absence(mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    def told() -> None:
        stopped.set()

    def refused() -> None:
        stopped.set()
        raise redis.ConnectionError

    for tell, is_there in ((told, False), (refused, True)):
        stopped.clear()
        monkeypatch.setattr(vitals, "tell", tell)
        vitals._tell_until_stopped(stopped)
        assert mark.exists() is is_there
