"""Requirements: every package that is installed is pinned with hashes, for every Python version that is supported."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import smsgateway
from tests.support.tools import ROOT

LOCKS = (
    "requirements-install.txt",
    "requirements.txt",
    "requirements-tracing.txt",
    "requirements-dev.txt",
    "tests/clients/requirements.txt",
)


def logical_lines(path: Path) -> list[str]:
    """The lines of a requirements file without comments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def locked(name: str) -> dict[str, str]:
    """The version of each package in a lock file. Fails on a line without a version or a hash."""
    versions = {}
    for line in logical_lines(ROOT / name):
        match = re.fullmatch(r"([\w.-]+)==(\S+?)( ; [^-]+?)?((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        assert match, f"{name}: {line[:80]}"
        versions[canonicalize_name(match[1])] = match[2]
    return versions


def sources(name: str) -> list[Requirement]:
    """The requirements that a source file names, with those of the files it includes."""
    found = []
    for line in logical_lines(ROOT / name):
        option, _, value = line.partition(" ")
        if option == "-r":
            found += sources(value)
        elif option != "-c":
            found.append(Requirement(line))
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_every_package_of_its_source_in_that_version(lock: str) -> None:
    versions = locked(lock)
    for requirement in sources(lock.replace(".txt", ".in")):
        assert str(requirement.specifier) == f"=={versions.get(canonicalize_name(requirement.name))}", "run: make lock"


def test_the_lock_has_everything_that_its_packages_depend_on() -> None:
    versions = locked("requirements-dev.txt")
    todo = [(requirement, extra) for requirement in sources("requirements-dev.in") for extra in _extras(requirement)]
    seen = set()
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        assert name in versions, f"{requirement} is not locked; run: make lock"
        assert requirement.specifier.contains(versions[name], prereleases=True), f"{requirement}; run: make lock"
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(needed, inner) for inner in _extras(needed)]
    assert len(seen) > 100


def _extras(requirement: Requirement) -> list[str]:
    return ["", *requirement.extras]


def test_locks_agree_on_versions() -> None:
    everything = locked("requirements-dev.txt")
    for lock in ("requirements.txt", "requirements-tracing.txt"):
        assert locked(lock).items() <= everything.items()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_package_index(lock: str) -> None:
    assert not re.search(r"https?://|index-url|find-links", (ROOT / lock).read_text(encoding="utf-8"))


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    released = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert project["version"] == smsgateway.__version__ == released[0]
    for overlay in ("staging", "production"):
        text = (ROOT / "k8s" / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8")
        assert f'newTag: "{smsgateway.__version__}"' in text


def test_python_3_11_to_3_13_is_supported_and_the_build_accepts_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = SpecifierSet(project["requires-python"])
    assert [minor for minor in range(9, 17) if f"3.{minor}.0" in supported] == [11, 12, 13]
    script = (ROOT / "scripts" / "make_venv.sh").read_text(encoding="utf-8")
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in script
