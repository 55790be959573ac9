"""The Kubernetes manifests as kustomize would put them together, as far as they use it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "kubernetes"
KEYS = {"containers": "name", "initContainers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}

type Manifest = dict[str, Any]


def manifests() -> Iterator[Manifest]:
    """Every object, with the patches that are meant for it."""
    build = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    for name in build["resources"]:
        for manifest in yaml.safe_load_all((FOLDER / name).read_text()):
            for patch in build["patches"]:
                if patch["target"]["kind"] == manifest["kind"]:
                    spec = {"spec": yaml.safe_load((FOLDER / patch["path"]).read_text())["spec"]}
                    manifest = _merged(manifest, spec)  # noqa: PLW2901 it is the same one, with more in it
            yield manifest


def _merged(base: Any, patch: Any, name: str = "") -> Any:
    """A strategic merge: objects by their fields, lists by the key that Kubernetes names for them."""
    if isinstance(base, dict) and isinstance(patch, dict):
        names = [*base, *(name for name in patch if name not in base)]
        return {
            name: _merged(base[name], patch[name], name) if name in base and name in patch else {**base, **patch}[name]
            for name in names
        }
    if isinstance(base, list) and name in KEYS:
        key = KEYS[name]
        theirs = {item[key]: item for item in patch}
        mine = [_merged(item, theirs.pop(item[key])) if item[key] in theirs else item for item in base]
        return [*mine, *theirs.values()]
    return patch
