"""Settings: documented, and closed where they are missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tokenhub.environment import misspelt

ROOT = Path(__file__).parent.parent.parent


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    sources = ["settings.py", "signin/settings.py", "embedded/state.py", "logs.py", "version.py"]
    source = "".join((ROOT / "tokenhub" / name).read_text() for name in sources)
    used = set(re.findall(r'"((?:TOKENHUB_[A-Z_]+)|DATABASE_URL|REDIS_URL)"', source))
    assert documented() - {"SSL_CERT_FILE"} == used


def documented() -> set[str]:
    return set(re.findall(r"^\| `([A-Z_]+)` ", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("TOKENHUB_", "DATABASE", "REDIS"))
    }
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        cwd=ROOT,
        env={**clean, "TOKENHUB_DATA": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


EXTERNAL = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}  # the test run's own stores
SECRETS = {"TOKENHUB_SECRET_KEY": "k" * 60, "TOKENHUB_ENCRYPTION_KEYS": "A" * 43 + "="}


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_outside_the_embedded_stack_no_secret_has_a_default(missing: str) -> None:
    given = {name: value for name, value in SECRETS.items() if name != missing}
    result = check(**EXTERNAL, **given)
    assert result.returncode != 0
    assert f"{missing} must be set when DATABASE_URL is. Make one with:" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("TOKENHUB_ENCRYPTION_KEYS", "short", "tokenhub.E001"),
        ("TOKENHUB_CIJ_HOST_SUFFIXES", "https://x.example", "tokenhub.E002"),
        ("TOKENHUB_DATAVERSE_HOST_SUFFIXES", ".com", "tokenhub.E003"),
        ("TOKENHUB_CALL_DEADLINE_SECONDS", "60", "tokenhub.E004"),
        ("TOKENHUB_DEBUG", "true", "tokenhub.E005"),
        ("TOKENHUB_TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0", "tokenhub.E006"),
        ("TOKENHUB_ALERT_EMAILS", "ops@example.com", "tokenhub.E030"),
        ("TOKENHUB_ALERT_WEBHOOK_URL", "https://hooks.example.com", "tokenhub.E031"),
        ("TOKENHUB_ALERT_WEBHOOK_SECRET", "whsec_no base64", "tokenhub.E032"),
        ("SSL_CERT_FILE", "/nonexistent", "tokenhub.E007"),
        ("HTTPS_PROXY", "socks9://user:hunter2@127.0.0.1:1", "tokenhub.E007"),
        ("TOKENHUB_BURST_SECONDS", "0.5", "tokenhub.E010"),
        ("TOKENHUB_LOOK_AGAIN_SECONDS", "", "tokenhub.E011"),
    ],
)
def test_a_bad_setting_is_named_with_a_hint(setting: str, value: str, code: str) -> None:
    result = check(**EXTERNAL, **{**SECRETS, "TOKENHUB_ALLOWED_HOSTS": "push.example.com", setting: value})
    assert result.returncode != 0
    assert code in result.stderr
    assert "HINT" in result.stderr
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stderr


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("DATABASE_URL", "postgrsql://tokenhub@127.0.0.1/tokenhub", "DATABASE_URL must look like postgresql://"),
        ("DATABASE_URL", "postgresql://tokenhub@127.0.0.1:5432/", "DATABASE_URL must look like postgresql://"),
        ("REDIS_URL", "valkey://:hunter2@127.0.0.1:6379/0", "REDIS_URL must look like redis://"),
        ("TOKENHUB_LEASE_SECONDS", "60s", "TOKENHUB_LEASE_SECONDS: '60s' cannot be read as a number"),
        ("TOKENHUB_RETRY_SECONDS", "1s", "TOKENHUB_RETRY_SECONDS: '1s' cannot be read as a number"),
        ("TOKENHUB_RETRY_SECONDS", "inf", "TOKENHUB_RETRY_SECONDS: 'inf' is no number from 0 on"),
        ("TOKENHUB_LOCKOUT_FAILURES", "-5", "TOKENHUB_LOCKOUT_FAILURES: '-5' is no number from 0 on"),
        ("TOKENHUB_DB_POOL_MAX", "0", "TOKENHUB_DB_POOL_MAX: 0 is too little"),
        ("TOKENHUB_EVENT_PARTITION_DAYS", "0.0", "TOKENHUB_EVENT_PARTITION_DAYS: 0 is too little"),
        ("TOKENHUB_MAPPING_LOSS_RATIO", "3", "TOKENHUB_MAPPING_LOSS_RATIO is a share, from 0 to 1"),
        (
            "TOKENHUB_PUBLIC_URL",
            "push.example.com",
            "TOKENHUB_PUBLIC_URL is 'push.example.com'; an address",
        ),
        ("TOKENHUB_ENTRA_AUTHORITY", "https://", "TOKENHUB_ENTRA_AUTHORITY is 'https:'; an address begins with"),
        ("TOKENHUB_LOG_LEVEL", "LOUD", "TOKENHUB_LOG_LEVEL is 'LOUD'; it is one of CRITICAL, "),
        ("TOKENHUB_LOG_FORMAT", "xml", "TOKENHUB_LOG_FORMAT is 'xml'; it is one of json, console"),
        ("TOKENHUB_SESSION_HOURS", "eight", "TOKENHUB_SESSION_HOURS: 'eight' cannot be read as a number"),
        ("TOKENHUB_TRUST_FORWARDED_PROTO", "ture", "TOKENHUB_TRUST_FORWARDED_PROTO: 'ture' is neither true nor false"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(setting: str, value: str, says: str) -> None:
    result = check(**{**EXTERNAL, **SECRETS, "TOKENHUB_ALLOWED_HOSTS": "push.example.com", setting: value})
    assert result.returncode == 1
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.stderr


@pytest.mark.parametrize(
    ("name", "hint"),
    [("TOKENHUB_ALERT_WEBHOOK", "Is it TOKENHUB_ALERT_WEBHOOK_URL?"), ("TOKENHUB_XYZ", "docs/settings.md has them")],
)
def test_a_setting_that_nobody_reads_is_told(name: str, hint: str) -> None:
    result = check(**EXTERNAL, **SECRETS, TOKENHUB_ALLOWED_HOSTS="push.example.com", **{name: "hunter2"})
    assert f"(tokenhub.W004) {name} is set, and there is no such setting." in result.stderr
    assert hint in result.stderr
    assert "hunter2" not in result.stderr


def test_no_documented_setting_is_told_as_misspelt() -> None:
    assert list(misspelt([*documented(), "TOKENHUB_PORT_80_TCP"])) == []
    assert documented()


def test_what_is_set_for_other_processes_is_read_there() -> None:
    files = [path for folder in ("tokenhub/embedded", "sandbox", "bench") for path in (ROOT / folder).rglob("*.py")]
    given = {name for path in files for name in re.findall(r'"(TOKENHUB_[A-Z_]+)":', path.read_text())}
    assert len(given) > 10
    assert list(misspelt(given)) == []


def test_good_settings_pass_all_checks_for_deployment() -> None:
    result = check(**EXTERNAL, **SECRETS, TOKENHUB_ALLOWED_HOSTS="push.example.com")
    assert (result.returncode, result.stderr.count("ERROR")) == (0, 0), result.stderr


def test_a_secret_may_begin_with_a_dollar() -> None:
    result = check(**EXTERNAL, **{**SECRETS, "TOKENHUB_SECRET_KEY": "$" + "k" * 60}, TOKENHUB_ALLOWED_HOSTS="x")
    assert result.returncode == 0, result.stderr


def test_a_command_that_needs_the_stack_says_that_it_is_not_running(tmp_path: Path) -> None:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("TOKENHUB_", "DATABASE", "REDIS"))
    }
    result = subprocess.run(
        [sys.executable, "manage.py", "sync_status"],
        cwd=ROOT,
        env={**clean, "TOKENHUB_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "The embedded stack is not running" in result.stderr
    assert str(tmp_path) in result.stderr
    assert "Traceback" not in result.stderr
