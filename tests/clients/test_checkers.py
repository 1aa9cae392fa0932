"""The OpenAPI documents pass the checkers that their readers run, with the rules that these bring."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.openapi_tools import require
from tests.support.tools import ROOT

pytestmark = pytest.mark.timeout(600)

DOCUMENTS = [ROOT / "docs" / "openapi.json", ROOT / "docs" / "openapi-reporting.json"]
NAMES = [path.stem for path in DOCUMENTS]


def spectral(document: Path, folder: Path) -> list[str]:
    """What Spectral finds with its rules for OpenAPI: `code path`, warnings too."""
    (folder / "rules.yaml").write_text('extends: ["spectral:oas"]\n')
    found = folder / "spectral.json"
    command = ["spectral", "lint", str(document), "--ruleset", str(folder / "rules.yaml"), "--fail-severity", "hint"]
    subprocess.run(
        [*command, "--format", "json", "--output", str(found)], env=require("node"), cwd=folder, capture_output=True
    )
    return [f"{fault['code']} {'/'.join(map(str, fault['path']))}" for fault in json.loads(found.read_text())]


def redocly(document: Path, folder: Path) -> list[str]:
    """What Redocly finds with its recommended rules: `rule place`, warnings too."""
    command = ["redocly", "lint", str(document), "--format", "json"]
    done = subprocess.run(command, env=require("node"), cwd=folder, capture_output=True, text=True)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    return [f"{problem['ruleId']} {problem['location'][0]['pointer']}" for problem in found["problems"]]


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_spectral_finds_nothing(document: Path, tmp_path: Path) -> None:
    assert spectral(document, tmp_path) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_redocly_finds_nothing(document: Path, tmp_path: Path) -> None:
    assert redocly(document, tmp_path) == []


def test_both_find_what_is_wrong(tmp_path: Path) -> None:
    wrong = json.loads(DOCUMENTS[0].read_text())
    del wrong["servers"]
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    assert [found.split()[0] for found in spectral(tmp_path / "wrong.json", tmp_path)] == ["oas3-api-servers"]
    assert [found.split()[0] for found in redocly(tmp_path / "wrong.json", tmp_path)] == ["no-empty-servers"]
