"""What kustomize builds of k8s/."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.tools import ROOT, tool

DEPLOYMENTS = {"api", "reporting", "admin", "relay", "deliver", "settle", "callbacks", "ingest", "watch"}

Manifest = dict[str, Any]


@functools.cache
def built(folder: Path) -> list[Manifest]:
    """What kustomize makes of a folder."""
    kustomize = tool("kustomize", "kubectl")
    command = [kustomize, "kustomize" if Path(kustomize).name == "kubectl" else "build", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def overlay(name: str) -> list[Manifest]:
    return built(ROOT / "k8s" / "overlays" / name)


def of_kind(manifests: list[Manifest], *kinds: str) -> dict[str, Manifest]:
    return {found["metadata"]["name"]: found for found in manifests if found["kind"] in kinds}


def pod(manifest: Manifest) -> Manifest:
    spec = manifest["spec"]
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Manifest = spec["template"]["spec"]
    return found


def with_components(folder: Path, *names: str) -> list[Manifest]:
    """Production with these components besides."""
    base = os.path.relpath(ROOT / "k8s", folder.resolve())
    kustomization = {
        "resources": [f"{base}/overlays/production"],
        "components": [f"{base}/{name}" if "/" in name else f"{base}/components/{name}" for name in names],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return built(folder)
