"""The documentation: every link leads somewhere, every command that it names exists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests.support.pages import anchors, links, shell_blocks
from tests.support.tools import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
HTTP_SERVICES = {"api", "reporting", "admin"}


def names(pages: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in pages]


def broken(page: Path, text: str) -> Iterator[str]:
    """Links to files that are not there, or to headings that a page does not have."""
    for link in links(text):
        if re.match(r"[a-z]+:", link):  # to elsewhere: not ours to keep
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors(text if target == page else target.read_text(encoding="utf-8")):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_link_of_the_page_works(page: Path) -> None:
    assert list(broken(page, page.read_text(encoding="utf-8"))) == []


def test_a_broken_link_is_found() -> None:
    page = ROOT / "docs" / "reference" / "api.md"
    text = (
        "# Here\n[a](errors.md) [b](nowhere.md) [c](errors.md#no-such) [d](#here) [e](#there)\n```\n[f](no.md)\n```\n"
    )
    assert list(broken(page, text)) == [
        "nowhere.md: no such file",
        "errors.md#no-such: no such heading",
        "#there: no such heading",
    ]


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        seen.add(page)
        for link in links(page.read_text(encoding="utf-8")):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in seen:
                todo.append(target)
    assert names([page for page in PAGES if page not in seen]) == []


def test_every_command_that_the_docs_name_exists() -> None:
    known = get_commands().keys()
    unknown = [
        (name, command)
        for page, name in zip(PAGES, names(PAGES), strict=True)
        for command in re.findall(r"manage\.py ([a-z_]+)", page.read_text(encoding="utf-8"))
        if command not in known
    ]
    assert unknown == []


def test_every_make_target_that_the_docs_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"^make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert target in targets, page.name


def test_every_script_that_the_docs_name_exists() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`?((?:scripts|docker|k8s|monitoring|tests)/[\w./-]*\w)", text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
        for module in re.findall(r"python -m (scripts\.\w+)", text):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{page.name}: {module}"


@pytest.mark.parametrize(
    "page", ["README.md", "docs/howto/deploy.md", "docs/tutorial/quickstart.md", "docs/howto/top-up.md"]
)
def test_the_shell_of_the_page_is_well_formed(page: str) -> None:
    for block in shell_blocks(ROOT / page):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
