"""Workflows, pre-commit, Dependabot, and the collection of requests."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.make_collection import COLLECTION, DOCS, render
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.tools import ROOT, tool

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_actionlint_finds_nothing() -> None:
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "deploy.yml"}
    done = subprocess.run([tool("actionlint"), *map(str, WORKFLOWS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_actionlint_would_find_something(tmp_path: Path) -> None:
    wrong = (ROOT / ".github" / "workflows" / "ci.yml").read_text().replace("runs-on: ubuntu-24.04", "run-on: x", 1)
    (tmp_path / "wrong.yml").write_text(wrong)
    assert subprocess.run([tool("actionlint"), str(tmp_path / "wrong.yml")], capture_output=True).returncode == 1


def test_every_file_that_a_workflow_runs_is_there() -> None:
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"(?<!uses: )\b((?:scripts|docker/Dockerfile|\.ci)[\w./-]*)", text):
            assert (ROOT / name.rstrip(".")).exists(), f"{path.name}: {name}"


def test_the_deployment_migrates_before_it_rolls_out_and_tries_it_afterwards() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text())["jobs"]
    assert jobs["deploy"]["needs"] == "image"
    commands = [step.get("run", "") for step in jobs["deploy"]["steps"]]
    deploy, smoke = (
        next(number for number, command in enumerate(commands) if f"scripts/{script}" in command)
        for script in ("deploy.sh", "smoke_test.sh")
    )
    assert deploy < smoke


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_the_step_that_names_the_image_names_it(overlay: str, tmp_path: Path) -> None:
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text())["jobs"]["deploy"]["steps"]
    (step,) = (step for step in steps if step.get("name") == "The image of this version")
    sed = step["run"].partition("kubectl")[0]
    folder = tmp_path / "k8s" / "overlays" / overlay
    folder.mkdir(parents=True)
    kustomization = folder / "kustomization.yaml"
    kustomization.write_text((ROOT / "k8s" / "overlays" / overlay / "kustomization.yaml").read_text())
    environ = {"PATH": "/usr/bin:/bin", "IMAGE": "ghcr.io/owner/smsgateway", "TAG": "v1-abc", "OVERLAY": overlay}
    subprocess.run(["bash", "-ec", sed], cwd=tmp_path, env=environ, check=True)
    (image,) = yaml.safe_load(kustomization.read_text())["images"]
    assert image == {"name": "smsgateway", "newName": "ghcr.io/owner/smsgateway", "newTag": "v1-abc"}


def test_the_hooks_of_pre_commit_run_what_is_there() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook["entry"] for hook in repo["hooks"]}
    assert {"ruff", "ruff-format", "mypy", "made-files"} == hooks.keys()
    for entry in hooks.values():
        for module in re.findall(r"-m (scripts\.\w+)", entry):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists()
        assert shlex.split(entry)


def test_dependabot_looks_at_every_place_that_pins_versions() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {(update["package-ecosystem"], update["directory"]) for update in updates} == {
        ("pip", "/"), ("docker", "/docker"), ("docker-compose", "/docker"), ("github-actions", "/"),
        ("npm", "/tests/clients"), ("gomod", "/tests/clients/go"), ("pip", "/tests/clients"),
    }  # fmt: skip


def test_the_collection_is_what_the_openapi_document_says() -> None:
    assert COLLECTION.read_text(encoding="utf-8") == render(), "run: python -m scripts.make_collection"


def requests_of(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        if "item" in item:
            yield from requests_of(item["item"])
        else:
            yield item["request"]


def test_the_collection_has_every_operation() -> None:
    document = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    operations = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method in ("get", "post", "put", "patch", "delete")
    }
    collected = {
        (request["method"], "/" + "/".join(re.sub(r"^:(\w+)$", r"{\1}", part) for part in request["url"]["path"]))
        for request in requests_of(json.loads(render())["item"])
    }
    assert collected == operations


@pytest.mark.parametrize("path", ["v1/sms/send", "v1/sms/batch", "v1/sms/estimate"])
def test_requests_of_the_collection_work_with_its_variables(
    path: str, make_customer: MakeCustomer, post: Callable[..., Any]
) -> None:
    # tests/clients/test_collection.py runs all of it with newman, where Node.js is.
    customer = ids.to_text(make_customer())
    in_an_hour = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    requests = [
        request for request in requests_of(json.loads(render())["item"]) if "/".join(request["url"]["path"]) == path
    ]
    assert len(requests) == 2
    for request in requests:
        body = request["body"]["raw"].replace("{{customer_id}}", customer).replace("{{in_an_hour}}", in_an_hour)
        response = post(f"/{path}", json.loads(body))
        assert response.status_code == 200, response.content
