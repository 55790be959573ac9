"""What stands in deploy/, checked as far as Python packages can: linted, and against the published schemas."""

import os
import pwd
import re
import stat
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cryptography.fernet import Fernet

import tokenhub
from registry.api.parsers import ImportParser
from registry.services.bulk_jobs import LARGEST
from tests.manifests import Manifest, manifests
from tests.web import ROOT

DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
KUBERNETES = ("1.30", "1.37")  # the oldest that knows all that is used, and the newest whose schema there is


def ran(*argv: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def test_the_dockerfile_has_nothing_to_complain_about() -> None:
    done = ran(BIN / "hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_is_pinned_by_version_and_python_as_here() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    images = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    images += [service["image"] for service in services.values() if "TOKENHUB_VERSION" not in service["image"]]
    assert all(re.fullmatch(r"[\w/]+:\d+\.\d+[\w.-]*", image) for image in images), images
    assert {image.partition(":")[2].split(".")[1] for image in images if image.startswith("python")} == {
        (ROOT / ".python-version").read_text().strip().split(".")[1]
    }


def test_the_image_gets_what_it_needs_and_nothing_else() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE) for word in line.split()}
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied
    assert ignored[1] == "*"
    assert all((ROOT / name).exists() for name in copied)


def test_compose_is_as_its_specification_wants_it() -> None:
    done = ran(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_manifest_is_what_kubernetes_takes(version: str) -> None:
    found = list(manifests())
    assert len(found) > 10
    for manifest in found:
        kubernetes_validate.validate(manifest, version, strict=True)


def pods() -> list[tuple[str, Manifest]]:
    return [(m["metadata"]["name"], m["spec"]["template"]) for m in manifests() if "template" in m.get("spec", {})]


@pytest.mark.parametrize(("name", "pod"), pods(), ids=[name for name, _ in pods()])
def test_no_pod_may_more_than_it_must(name: str, pod: Manifest) -> None:
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"].keys() == {"requests", "limits"}
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/run/tokenhub", "/tmp"}  # noqa: S108
    assert name == "migrate" or [one["args"] for one in spec["initContainers"]] == [["migrate", "--check"]]


def test_every_process_is_probed_and_none_of_them_by_way_of_a_store() -> None:
    probes = {
        name: {tuple(one["exec"]["command"]) if "exec" in one else one["httpGet"]["path"] for one in probed(pod)}
        for name, pod in pods()
        if name != "migrate"
    }
    alive = {("deploy/run", "alive")}
    assert probes == {"web": {"/livez"}, "admin": {"/livez"}, "worker": alive, "urgent": alive, "beat": alive}
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name in ("worker", "urgent", "beat"):
        assert services[name]["healthcheck"]["test"] == ["CMD", "deploy/run", "alive"]
        assert "TOKENHUB_ALIVE_PATH" in services[name]["environment"]
    assert all(
        "TOKENHUB_ALIVE_PATH" in {one["name"] for one in pod["spec"]["containers"][0]["env"]} for _, pod in pods()
    )


def test_whoever_serves_leaves_in_order_and_takes_nothing_before_it_can() -> None:
    for name, pod in pods():
        if name not in ("web", "admin"):
            continue
        [container] = pod["spec"]["containers"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        slept = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert slept + 40 < pod["spec"]["terminationGracePeriodSeconds"]
        assert slept > 0


def test_the_phones_side_grows_and_never_goes_all_at_once() -> None:
    of_web = {m["kind"]: m["spec"] for m in manifests() if m["metadata"]["name"] == "web"}
    assert of_web["PodDisruptionBudget"]["maxUnavailable"] == 1
    scaler = of_web["HorizontalPodAutoscaler"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert "replicas" not in of_web["Deployment"], "each apply would overwrite the autoscaler's number"
    assert of_web["Deployment"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def probed(pod: Manifest) -> list[Manifest]:
    """What ends a container."""
    return [one[name] for one in pod["spec"]["containers"] for name in ("livenessProbe", "startupProbe")]


def test_what_selects_pods_finds_some() -> None:
    labels = [pod["metadata"]["labels"] for _, pod in pods()]
    found = list(manifests())
    for manifest in found:
        spec = manifest.get("spec", {})
        if manifest["kind"] in ("Service", "PodDisruptionBudget"):
            selector = spec["selector"].get("matchLabels", spec["selector"])
            assert any(selector.items() <= label.items() for label in labels), manifest
    services = {m["metadata"]["name"] for m in found if m["kind"] == "Service"}
    # The monitor's objects are the operator's, of which no schema is at hand.
    monitor = yaml.safe_load((DEPLOY / "kubernetes" / "extra" / "servicemonitor.yaml").read_text())
    chosen = [
        m
        for m in found
        if m["kind"] == "Service" and m["metadata"].get("labels") == monitor["spec"]["selector"]["matchLabels"]
    ]
    assert [m["metadata"]["name"] for m in chosen] == ["web"]
    assert {one["port"] for one in monitor["spec"]["endpoints"]} <= {
        port["name"] for port in chosen[0]["spec"]["ports"]
    }
    [build] = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["labels"]
    assert build["pairs"][monitor["spec"]["jobLabel"]] == "tokenhub"
    for ingress in (m for m in found if m["kind"] == "Ingress"):
        paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
        assert {path["backend"]["service"]["name"] for path in paths} <= services


def settings_used() -> set[str]:
    documented = set(re.findall(r"^\| `([A-Z_]+)` ", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    return documented | {f"{name}_FILE" for name in documented}


def test_every_setting_that_is_named_exists() -> None:
    named = set()
    for path in [
        *DEPLOY.rglob("*.yaml"),
        *DEPLOY.glob("*.env"),
        *DEPLOY.rglob("*.service"),
        *(DEPLOY / "proxy").iterdir(),
    ]:
        named |= set(
            re.findall(r"\b(?:TOKENHUB_[A-Z_]+[A-Z]|DATABASE_URL(?:_FILE)?|REDIS_URL(?:_FILE)?)\b", path.read_text())
        )
    assert named - {"TOKENHUB_VERSION", "TOKENHUB_PORT"} <= settings_used()


def test_secrets_are_made_once_and_are_good(tmp_path: Path) -> None:
    mine = f"{os.getuid()}:{os.getgid()}"

    def make() -> str:
        done = ran("sh", DEPLOY / "make-secrets.sh", tmp_path, OWNER=mine, POSTGRES_OWNER=mine)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert make().count("made ") == 8
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    Fernet(made["encryption_keys"])
    assert len(made["secret_key"]) >= 50
    assert made["postgres_password"] in made["database_url"]
    assert f"requirepass {made['valkey_password']}" in made["valkey.conf"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o400}
    (tmp_path / "metrics_token").unlink()
    assert make() == "made metrics_token\n"
    assert {name: (tmp_path / name).read_text() for name in made if name != "metrics_token"} == {
        name: value for name, value in made.items() if name != "metrics_token"
    }


def test_who_is_not_root_makes_secrets_too_and_keeps_the_url_of_their_own_store() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's are below one that is its maker's alone
        own = Path(name) / "database_url"
        own.write_text("postgresql://db.example.com/tokenhub")
        drop: dict[str, Any] = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            drop = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (name, own):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        script = (DEPLOY / "make-secrets.sh").read_text()
        subprocess.run(["/bin/sh", "-s", name], input=script, text=True, capture_output=True, check=True, **drop)
        assert own.read_text() == "postgresql://db.example.com/tokenhub"
        assert stat.S_IMODE((Path(name) / "encryption_keys").stat().st_mode) == 0o400


def test_a_command_on_a_plain_host_gets_the_services_settings(tmp_path: Path) -> None:
    (tmp_path / "alive").touch()
    (tmp_path / "env").write_text(f"# of the services\nTOKENHUB_ALIVE_PATH='{tmp_path}/alive'\n")
    me = pwd.getpwuid(os.getuid()).pw_name
    done = ran(DEPLOY / "manage", "alive", TOKENHUB_ENV=str(tmp_path / "env"), TOKENHUB_USER=me)
    assert done.returncode == 0, done.stderr
    done = ran(DEPLOY / "manage", "alive", TOKENHUB_ENV=str(tmp_path / "none"))
    assert (done.returncode, "cannot be read: run this as root" in done.stderr) == (1, True)


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    build = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert build["images"][0]["newTag"] == version == tokenhub.__version__


def test_rules_and_dashboard_ask_for_metrics_that_there_are() -> None:
    documented = set(re.findall(r"^\| `(tokenhub_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    for path in (DEPLOY / "prometheus" / "rules.yaml", DEPLOY / "grafana" / "tokenhub.json"):
        asked = {name.removesuffix("_bucket") for name in re.findall(r"\btokenhub_[a-z_]+\b", path.read_text())}
        assert asked
        assert asked <= documented, path


def test_whatever_tokenhub_takes_the_proxies_let_pass() -> None:
    """A file to import in the admin, and the largest body of the API."""
    nginx = (DEPLOY / "proxy" / "nginx.conf").read_text()
    ingresses = {m["metadata"]["name"]: m["metadata"]["annotations"] for m in manifests() if m["kind"] == "Ingress"}
    limits = {name: notes["nginx.ingress.kubernetes.io/proxy-body-size"] for name, notes in ingresses.items()}
    api, admin = re.findall(r"client_max_body_size (\d+)m;", nginx)
    assert (f"{api}m", f"{admin}m") == (limits["phones"], limits["admin"])
    assert int(api) * 1024**2 >= ImportParser.limit
    assert int(admin) * 1024**2 > LARGEST
