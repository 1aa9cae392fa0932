"""Versions of the gateway to measure: this checkout, and the files of any other commit.

Each is driven by what it ships: its `Procfile` starts its processes, its `manage.py` migrates and seeds. So versions
that start in different ways can be compared.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement

from apps.devservices.processes import PROJECT_ROOT, ServiceError

# What serves. Tools of development may differ.
_REQUIREMENTS: Final = ("requirements.txt", "requirements-tracing.txt")
_COMPLETE: Final = ".complete"
# make hands these to its children; a `make build` in another checkout must not take them over.
_OF_MAKE: Final = ("MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS")


class Version(NamedTuple):
    """`name`: as shown. `key`: for the names of databases and files. `folder`: its files. `bin`: programs of its
    virtual environment."""

    name: str
    key: str
    folder: Path
    bin: Path

    def manage(self, *arguments: str, environ: Mapping[str, str]) -> str:
        """The output of its `manage.py ARGUMENTS`. Raises ServiceError with the last line that names an error."""
        done = subprocess.run(
            [self.bin / "python", "manage.py", *arguments],
            cwd=self.folder,
            env=self.environ(environ),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["it gave no reason"]
            named = [line for line in lines if "Error" in line]
            raise ServiceError(f"{self.name}: manage.py {arguments[0]} failed: {(named or lines)[-1]}")
        return done.stdout

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ`, with its programs first on the PATH, and without what would lead to another version's files."""
        kept = {name: value for name, value in environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", *_OF_MAKE)}
        return kept | {"PATH": f"{self.bin}:{environ.get('PATH', os.defpath)}"}

    def command(self, process: str) -> str:
        """The line of its Procfile that starts this process, for a shell. Raises ServiceError."""
        for line in (self.folder / "Procfile").read_text(encoding="utf-8").splitlines():
            name, _, command = line.partition(":")
            if name == process:
                return command.strip()
        raise ServiceError(f"{self.name}: its Procfile has no process {process}.")


def here() -> Version:
    """This checkout as it is, changes included."""
    try:
        name = _git("rev-parse", "--short", "HEAD").strip()
        changed = "+changes" if _git("status", "--porcelain").strip() else ""
    except ServiceError:
        name, changed = "this checkout", ""  # a copy of the files alone
    return Version(f"{name}{changed}", "here", PROJECT_ROOT, Path(sys.executable).parent)


def at(ref: str, *, cache: Path) -> Version:
    """The files of this commit, branch or tag in a folder of `cache`, which is kept. Raises ServiceError.

    It shares this checkout's virtual environment if all its pinned packages are there in their versions. Otherwise its
    own `make build` makes one, which takes a minute, once.
    """
    commit = _git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
    folder = cache / commit[:12]
    if not (folder / _COMPLETE).exists():
        _unpack(commit, folder)
    programs = Path(sys.executable).parent
    if missing := sorted(_missing(folder)):
        sys.stderr.write(f"{ref} needs {', '.join(missing)}: it gets a virtual environment of its own.\n")
        programs = _build(folder)
    return Version(_git("rev-parse", "--short", commit).strip(), commit[:12], folder, programs)


def _unpack(commit: str, folder: Path) -> None:
    """A folder with the mark is complete; a run that was interrupted leaves none."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["git", "archive", commit], cwd=PROJECT_ROOT, capture_output=True, check=False)
    if done.returncode:
        raise ServiceError(f"git archive {commit}: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / _COMPLETE).touch()


def _missing(folder: Path) -> Iterator[str]:
    """The pins of its requirements that this virtual environment does not hold."""
    for name in _REQUIREMENTS:
        if not (file := folder / name).exists():
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            pin = line.partition(" #")[0].rstrip(" \\")
            if "==" not in pin or pin.startswith(("#", " ")):
                continue
            wanted = Requirement(pin)
            if wanted.marker is None or wanted.marker.evaluate():
                try:
                    version = importlib.metadata.version(wanted.name)
                except importlib.metadata.PackageNotFoundError:
                    version = ""
                if version not in wanted.specifier:
                    yield pin


def _build(folder: Path) -> Path:
    environ = {name: value for name, value in os.environ.items() if name not in _OF_MAKE}
    done = subprocess.run(["make", "build"], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"make build in {folder} failed: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    return folder / ".venv" / "bin"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip() or "no such commit; in a shallow clone fetch it first"
        raise ServiceError(f"git {' '.join(arguments)}: {reason}")
    return done.stdout
