"""What a test file needs, read from its source before anything starts: which services, and other programs.

A service is needed where the code names it: the file itself, what it imports of `tests`, or one of its conftests.
PostgreSQL is needed where a test asks for Django's database, also through fixtures. Comments and docstrings do not
count.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

TESTS: Final = Path(__file__).parents[1]
ROOT: Final = TESTS.parent
DATABASE: Final = "DATABASE_URL"
NAMED: Final = {
    "KAFKA_BROKERS": re.compile("kafka", re.IGNORECASE),
    "CLICKHOUSE_URL": re.compile("clickhouse", re.IGNORECASE),
}
SERVICES: Final = frozenset({DATABASE, *NAMED})
DATABASE_FIXTURES: Final = frozenset({"db", "transactional_db", "django_db_setup", "live_server", "admin_client"})
PROGRAMS: Final = re.compile(
    r"^(subprocess|multiprocessing|Popen|create_subprocess_exec|fork|Gateway|chromium)$", re.MULTILINE
)


class Function(NamedTuple):
    """A function as pytest sees it: the parameters are names of fixtures."""

    name: str
    parameters: frozenset[str]
    is_fixture: bool
    is_autouse: bool


class Source(NamedTuple):
    """One module: its names and texts, a line each; its functions; what it imports of `tests`."""

    words: str
    functions: tuple[Function, ...]
    imports: frozenset[Path]


def services(files: Iterable[Path]) -> set[str]:
    """The variables of the services that these test files need."""
    found: set[str] = set()
    for file in files:
        words = _words(file)
        found |= {variable for variable, name in NAMED.items() if name.search(words)}
        if DATABASE not in found and _asks_for_database(file):
            found.add(DATABASE)
        if found == SERVICES:
            break
    return found


@functools.cache
def is_slow(file: Path) -> bool:
    """Whether the test file needs more than Python and PostgreSQL: a broker, ClickHouse, or programs that it starts."""
    return bool(PROGRAMS.search(_words(file)) or services([file]) - {DATABASE})


def _asks_for_database(file: Path) -> bool:
    own = _read(file)
    words = set(own.words.splitlines())
    if "django_db" in words:
        return True
    fixtures = [function for source in _sources(file) for function in _read(source).functions if function.is_fixture]
    asking = set(DATABASE_FIXTURES)
    while more := {fixture.name for fixture in fixtures if fixture.parameters & asking} - asking:
        asking |= more
    if any(fixture.is_autouse for fixture in fixtures if fixture.name in asking):
        return True
    return bool(asking & words)  # as a parameter, or in usefixtures("…")


@functools.cache
def _words(file: Path) -> str:
    return "\n".join(_read(source).words for source in _sources(file))


@functools.cache
def _sources(file: Path) -> frozenset[Path]:
    """The file, the conftests above it, and what these import of `tests`, directly or not."""
    folders = (folder for folder in file.parents if folder in (TESTS.parent, TESTS) or TESTS in folder.parents)
    conftests = (folder / "conftest.py" for folder in folders)
    todo = [file, *(conftest for conftest in conftests if conftest.exists())]
    found: set[Path] = set()
    while todo:
        source = todo.pop()
        if source not in found:
            found.add(source)
            todo += _read(source).imports
    return frozenset(found)


@functools.cache
def _read(file: Path) -> Source:
    words: set[str] = set()
    modules: set[str] = set()
    functions: list[Function] = []
    docstrings: set[ast.AST] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Module() | ast.ClassDef() if node.body and isinstance(node.body[0], ast.Expr):
                docstrings.add(node.body[0].value)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if isinstance(node.body[0], ast.Expr):
                    docstrings.add(node.body[0].value)
                functions.append(_function(node))
                words.add(node.name)
            case ast.Import():
                modules |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module)):
                modules |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
                words |= {alias.name for alias in node.names}
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word) | ast.keyword(arg=str(word)):
                words.add(word)
            case ast.Constant(value=str(word)) if node not in docstrings:
                words.add(word)
    paths = (ROOT / f"{name.replace('.', '/')}.py" for name in modules if name.startswith("tests."))
    return Source("\n".join(words | modules), tuple(functions), frozenset(path for path in paths if path.exists()))


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    decorators = " ".join(map(ast.unparse, node.decorator_list))
    parameters = frozenset(argument.arg for argument in (*node.args.args, *node.args.kwonlyargs))
    return Function(node.name, parameters, "fixture" in decorators, "autouse=True" in decorators)
