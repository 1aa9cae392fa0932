"""Tests share code through `tests/support` only: no module imports a test module or a conftest."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.tools import ROOT

FOLDERS = ("apps", "scripts", "smsgateway", "tests")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """The dotted names that a module imports, also within functions; `from a import b` is `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def refused(source: str) -> list[str]:
    """The imports that reach into a test module or a conftest."""
    return [
        name
        for name in imported(source)
        if any(part == "conftest" or part.startswith("test_") for part in name.split(".")[:-1])
        or name.split(".")[-1] == "conftest"
        or (name.startswith("tests.") and name.split(".")[-1].startswith("test_"))
    ]


def test_no_module_imports_a_test_module_or_a_conftest() -> None:
    found = {path.relative_to(ROOT).as_posix(): refused(path.read_text(encoding="utf-8")) for path in MODULES}
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("line", "is_refused"),
    [
        ("from tests.support.waiting import wait_for", False),
        ("from tests.flow.test_flow import totals", True),
        ("from tests.flow import test_flow", True),
        ("import tests.flow.test_flow", True),
        ("from tests.flow.conftest import call", True),
        ("from conftest import MakeCustomer", True),
        ("def f():\n    import conftest", True),
    ],
)
def test_such_an_import_is_found(line: str, is_refused: bool) -> None:
    assert bool(refused(line)) is is_refused


def test_support_imports_nothing_else_of_the_tests() -> None:
    for path in (ROOT / "tests" / "support").rglob("*.py"):
        names = [name for name in imported(path.read_text(encoding="utf-8")) if name.startswith("tests.")]
        assert [name for name in names if not name.startswith("tests.support")] == [], path.name
