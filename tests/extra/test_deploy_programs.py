"""What stands in deploy/, checked by the programs that read it: promtool, systemd, nginx, Caddy, a shell's linter."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import trustme
import yaml

from tests.extra.conftest import program
from tests.web import ROOT

pytestmark = pytest.mark.extra
DEPLOY = ROOT / "deploy"


def check(*argv: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_takes_the_rules_and_they_raise_what_they_should(tmp_path: Path) -> None:
    promtool, folder = program("promtool", "prometheus"), DEPLOY / "prometheus"
    check(promtool, "check", "rules", "--lint-fatal", folder / "rules.yaml")
    check(promtool, "check", "config", "--syntax-only", folder / "prometheus.yaml")
    check(promtool, "test", "rules", folder / "rules_test.yaml")
    # A rule that is not tried by any case would not be missed.
    rules = yaml.safe_load((folder / "rules.yaml").read_text())["groups"][0]["rules"]
    cases = yaml.safe_load((folder / "rules_test.yaml").read_text())["tests"]
    raised = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert {rule["alert"] for rule in rules} == raised


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    panels = json.loads((DEPLOY / "grafana" / "tokenhub.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(expressions) > 15
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m").replace("$app", ".*")}
        for number, expression in enumerate(expressions)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    check(promtool, "check", "rules", tmp_path / "rules.yaml")


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    systemd = program("systemd-analyze", "systemd")
    for unit in (DEPLOY / "systemd").iterdir():
        # Its program is not installed where this is checked.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/tokenhub/deploy/run", str(DEPLOY / "run")))
    units = sorted(tmp_path.iterdir())
    said = check(systemd, "verify", "--man=no", *units)
    assert said.strip() == ""
    for unit in units:
        if "@" in unit.name:
            exposure = re.search(r"exposure level for .*: ([\d.]+)", check(systemd, "security", "--offline=true", unit))
            assert exposure is not None
            assert float(exposure[1]) < 3


def test_nginx_takes_the_example(tmp_path: Path) -> None:
    nginx = program("nginx", "nginx-light")
    trustme.CA().issue_cert("push.example.com").private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    text = (DEPLOY / "proxy" / "nginx.conf").read_text()
    text = re.sub(r"/etc/tokenhub/tls/\w+\.pem", str(tmp_path / "tls.pem"), text)
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}}}\n")
    check(nginx, "-t", "-q", "-e", tmp_path / "log", "-c", tmp_path / "nginx.conf")


def test_caddy_takes_the_example(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "proxy" / "Caddyfile", tmp_path / "Caddyfile")
    check(program("caddy", "caddy"), "validate", "--adapter", "caddyfile", "--config", "Caddyfile", cwd=tmp_path)


def test_the_shell_scripts_have_nothing_to_complain_about() -> None:
    shellcheck = program("shellcheck", "shellcheck")
    check(
        shellcheck,
        DEPLOY / "run",
        DEPLOY / "manage",
        DEPLOY / "make-secrets.sh",
        DEPLOY / "bootstrap.sh",
        ROOT / ".ci" / "run",
    )
