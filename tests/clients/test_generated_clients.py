"""Clients of foreign generators: what docs/howto/generate-a-client.md shows, against a running gateway."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from apps.sms.models import Message
from smsgateway import ids
from tests.support.openapi_tools import NODE_MODULES, PINNED, require
from tests.support.served_api import Served
from tests.support.tools import ROOT

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

PAGE = ROOT / "docs" / "howto" / "generate-a-client.md"
INSTALLS = re.compile(r"(go install|go mod init|go get|npm install|pip install) ")


class Section(NamedTuple):
    """A language's part of the page: its commands before and after its program."""

    language: str
    suffix: str
    before: str
    program: str
    after: str


def section(heading: str, *, language: str, suffix: str) -> Section:
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (before, after) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    (program,) = re.findall(rf"`main\.{suffix}`:\n```\w+\n(.*?)```", text, re.DOTALL)
    return Section(language, suffix, before, program, after)


SECTIONS = [
    section("Go", language="go", suffix="go"),
    section("TypeScript", language="node", suffix="ts"),
    section("Python", language="python", suffix="py"),
]
LANGUAGES = [found.language for found in SECTIONS]


def run(commands: str, *, folder: Path, environment: Mapping[str, str]) -> str:
    """The commands but those that install, which scripts/openapi_tools.sh has done. What they print."""
    kept = "\n".join(line for line in commands.splitlines() if not INSTALLS.match(line))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", kept], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{kept}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def prepared(folder: Path, language: str) -> Path:
    """The folder as the page's installing commands leave it."""
    folder.mkdir()
    if language == "go":
        for name in ("go.mod", "go.sum"):
            shutil.copy(PINNED / "go" / name, folder)
    if language == "node":
        (folder / "package.json").write_text('{"type": "module"}')
        (folder / "node_modules").symlink_to(NODE_MODULES)
    return folder


def follow(page: Section, *, folder: Path, program: str, environment: Mapping[str, str]) -> list[str]:
    """Make the client by the page's commands and run the program; the lines that it prints."""
    prepared(folder, page.language)
    run(page.before, folder=folder, environment=environment)
    (folder / f"main.{page.suffix}").write_text(program)
    return run(page.after, folder=folder, environment=environment).splitlines()


@pytest.mark.parametrize("page", SECTIONS, ids=LANGUAGES)
def test_a_generated_client_sends_reads_and_gets_typed_errors(
    page: Section, served: Served, reporting_url: str, tmp_path: Path
) -> None:
    tools = require(page.language)
    environment = {**tools, **served.environment(served.url)}
    printed = follow(page, folder=tmp_path / "shop", program=page.program, environment=environment)

    sent, batch, broadcast, read, problem = printed
    messages = {message.text: message for message in Message.objects.filter(customer_id=served.customer_id)}
    name = page.program.partition(": your code is 1234")[0].rpartition('"')[2]
    first = messages[f"{name}: your code is 1234"]
    assert first.sender == "Shop"
    assert sent == f"sent {ids.to_text(first.id)} for {first.cost}"
    assert batch == "batch 1 accepted 1 refused"
    assert broadcast == "broadcast 2 accepted 0 refused"
    assert read == f"read accepted {ids.moment(first.id).year} {first.text}"
    assert problem == "problem invalid_request to invalid_number"
    assert messages.keys() == {first.text, f"{name}: one", f"{name}: sale!"}
    assert Message.objects.filter(customer_id=served.customer_id).count() == 4

    environment = {**tools, **served.environment(reporting_url)}
    program = (PINNED / "reports" / f"main.{page.suffix}").read_text(encoding="utf-8")
    assert follow(page, folder=tmp_path / "reports", program=program, environment=environment) == [
        "summary 3 rows 0 9 hour",
        "problem invalid_request to",
    ]


def test_the_page_names_the_versions_that_are_tested() -> None:
    pinned = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (
            PINNED / "package.json",
            PINNED / "requirements.txt",
            PINNED / "go" / "go.mod",
            ROOT / "scripts" / "openapi_tools.sh",
        )
    )
    commands = [line for found in SECTIONS for line in found.before.splitlines() if INSTALLS.match(line)]
    named = re.findall(r"([\w./@-]+)(?:@|==)(v?\d[\w.]*)", "\n".join(commands))
    assert len(named) == 7
    for name, version in named:
        assert re.search(rf"\b{re.escape(name.lstrip('@'))}\W+{re.escape(version)}\b", pinned), f"{name} {version}"
