"""The pages whose commands speak to a cluster, followed with a kubectl that only knows what our overlays build."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.compose import interpolated
from tests.support.manifests import DEPLOYMENTS, Manifest, overlay, with_components
from tests.support.pages import accepted_by_manage, shell_blocks
from tests.support.tools import ROOT, tool

# Tells what it was asked, lists what is there by its labels, and builds overlays as the real one does.
KUBECTL = """#!{python}
import json, subprocess, sys
asked = sys.argv[1:]
with open("{folder}/asked", "a") as file:
    file.write(json.dumps(["kubectl", *asked]) + "\\n")
if asked[0] == "kustomize":
    sys.exit(subprocess.run([*{build}, asked[1]]).returncode)
if "get" in asked and "--output" in asked:
    kinds = asked[asked.index("get") + 1].split(",")
    selector = asked[asked.index("--selector") + 1]
    unlike = "!=" in selector
    label, _, value = selector.replace("!=", "=").partition("=")
    for kind, name, labels in json.load(open("{folder}/there")):
        if kind in kinds and (labels.get(label) == value) != unlike:
            print(kind + ".apps/" + name)
"""
DOCKER = """#!{python}
import json, sys
with open("{folder}/asked", "a") as file:
    file.write(json.dumps(["docker", *sys.argv[1:]]) + "\\n")
"""
Asked = list[list[str]]


def follow(page: str, folder: Path, there: list[Manifest], **variables: str) -> Asked:
    """Run the page's blocks in one shell; what kubectl and docker were asked."""
    labelled = [
        (found["kind"].lower(), found["metadata"]["name"], found["metadata"].get("labels", {})) for found in there
    ]
    (folder / "there").write_text(json.dumps(labelled))
    kustomize = tool("kustomize", "kubectl")
    build = [kustomize, "kustomize" if Path(kustomize).name == "kubectl" else "build"]
    for name, text in (("kubectl", KUBECTL), ("docker", DOCKER)):
        script = text.replace("{python}", sys.executable).replace("{folder}", str(folder))
        (folder / name).write_text(script.replace("{build}", repr(build)))
        (folder / name).chmod(0o755)
    blocks = "\n".join(shell_blocks(ROOT / "docs" / "howto" / page))
    script = re.sub(rf"^({'|'.join(variables)})=.*$", "", blocks, flags=re.MULTILINE) if variables else blocks
    environ = os.environ | variables | {"PATH": f"{folder}:{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in (folder / "asked").read_text().splitlines()]


@pytest.fixture
def there(tmp_path: Path) -> list[Manifest]:
    """Production, and what its relay becomes with shards."""
    (folder := tmp_path / "with shards").mkdir()
    return [*overlay("production"), *with_components(folder, "relay-shards")]


def check_of_the_cluster(asked: Asked, there: list[Manifest]) -> None:
    """Whatever is named is there, in that namespace, and takes the command that it is given."""
    known = {(found["kind"].lower(), found["metadata"]["name"]) for found in there}
    for _, *arguments in (call for call in asked if call[0] == "kubectl" and "--namespace" in call):
        assert arguments[1] in ("smsgateway", "smsgateway-staging"), arguments
        for kind, name in re.findall(r"\b(deployment|statefulset)(?:\.apps)?/([\w-]+)", " ".join(arguments)):
            assert (kind, name) in known, arguments
        if arguments[2] in ("delete", "describe") and arguments[3:5] != ["job", "prepare"]:
            assert (arguments[3], arguments[4]) in known, arguments
        if arguments[2] == "exec":
            command = arguments[arguments.index("--") + 1 :]
            accepted_by_manage(command[command.index("manage.py") + 1 :])


def test_scale_out(tmp_path: Path, there: list[Manifest]) -> None:
    asked = follow("scale-out.md", tmp_path, there)
    check_of_the_cluster(asked, there)
    assert any("create_kafka_topics" in call for call in asked)
    (compose,) = (call for call in asked if call[0] == "docker")
    services: dict[str, Any] = yaml.safe_load(interpolated())["services"]
    scaled = [given.partition("=")[0] for option, given in itertools.pairwise(compose) if option == "--scale"]
    assert scaled
    assert not [name for name in scaled if services[name].get("ports")], "two copies cannot have one port"
    # What the page says of a number set by hand, and of what starts the relays again.
    autoscaled = {
        found["spec"]["scaleTargetRef"]["name"] for found in there if found["kind"] == "HorizontalPodAutoscaler"
    }
    assert {"api", "deliver", "settle", "ingest", "callbacks", "reporting"} == autoscaled
    (relay,) = (one for one in there if (one["kind"], one["metadata"]["name"]) == ("Deployment", "relay"))
    assert relay["spec"]["replicas"] == 1


def test_upgrade_and_back(tmp_path: Path, there: list[Manifest]) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "openapi.json").write_text("{}")  # all that the smoke test asks for without a key
    asked = follow("upgrade.md", tmp_path, overlay("production"), RUNNING="HEAD", URL=f"file://{tmp_path}")
    check_of_the_cluster(asked, overlay("production"))
    undone = [call[-1] for call in asked if call[-3:-1] == ["rollout", "undo"]]
    assert set(undone) == {f"deployment.apps/{name}" for name in DEPLOYMENTS}
