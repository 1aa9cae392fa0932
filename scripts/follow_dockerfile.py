"""Executes the RUN and COPY lines of docker/Dockerfile without a container, in a folder and a clean virtual
environment. `python -m scripts.follow_dockerfile FOLDER` prints each step.

It shows that the commands work, and that the copied files and the runtime requirements suffice. It cannot show that the
base image and its libraries suffice, nor that the result runs in a container.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
_TOLD = {"USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


@dataclasses.dataclass
class Image:
    """The result: the folder for `/`, the environment, and the other instructions, such as ENTRYPOINT and USER."""

    root: Path
    environ: dict[str, str] = dataclasses.field(default_factory=dict)
    arguments: dict[str, str] = dataclasses.field(default_factory=dict)
    workdir: Path = Path("/")
    others: dict[str, str] = dataclasses.field(default_factory=dict)

    def place(self, path: str) -> Path:
        """The path on this machine of a path in the image."""
        found = Path(path)
        if found.is_relative_to(self.root):  # an ARG or ENV that names it has been mapped already
            return found
        return self.root / str(self.workdir / found).lstrip("/")

    def command(self, instruction: str) -> list[str]:
        """The words of ENTRYPOINT or of HEALTHCHECK's CMD, with paths on this machine."""
        words: list[str] = json.loads(self.others[instruction].partition("CMD ")[2] or self.others[instruction])
        return [str(self.place(words[0])), *words[1:]]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction with its arguments. Skips comments and joins continued lines."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = line.strip().partition(" ")
        yield name.upper(), rest.strip()


def follow(root: Path, *, say: bool = False) -> Image:
    """Execute the Dockerfile, with `root` for `/`. Raises subprocess.CalledProcessError, ValueError."""
    tools = root / "base" / "bin"
    tools.mkdir(parents=True)
    base_python = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    for name in ("python", "python3"):
        (tools / name).write_text(f'#!/bin/sh\nexec {base_python} "$@"\n')
        (tools / name).chmod(0o755)
    base = {"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", "HOME": str(root), "LANG": "C.UTF-8"}
    image = Image(root, dict(base))
    for name, rest in instructions(DOCKERFILE.read_text(encoding="utf-8")):
        if say:
            sys.stdout.write(f"{name} {rest}\n")
        if name == "FROM":
            image = Image(root, dict(base))
        elif name == "ARG":
            key, _, value = rest.partition("=")
            # A folder of the image becomes a folder here, also in later lines that name it by its ARG.
            image.arguments[key] = str(image.place(value)) if value.startswith("/") else value
        elif name == "ENV":
            for word in shlex.split(rest):
                key, _, value = word.partition("=")
                image.environ[key] = _expanded(value, image)
        elif name == "WORKDIR":
            image.workdir = Path(rest)
            image.place(".").mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            _copy(rest, image)
        elif name == "RUN":
            environ = image.environ | image.arguments
            subprocess.run(["/bin/sh", "-c", rest], cwd=image.place("."), env=environ, check=True)
        elif name in _TOLD:
            image.others[name] = rest
        else:
            raise ValueError(f"{name} is an instruction that this script cannot follow")
    return image


def _expanded(text: str, image: Image) -> str:
    return string.Template(text).substitute(image.environ | image.arguments)


def _copy(rest: str, image: Image) -> None:
    words = _expanded(rest, image).split()
    if words[0].startswith("--from="):
        source, target = (image.place(word) for word in words[1:])
        if source != target:
            raise ValueError(f"{rest}: here all stages share one root, so the two paths must be one")
        return
    *sources, target_word = words
    target = image.place(target_word)
    for word in sources:
        source = ROOT / word
        files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
        for path in files:
            if is_sent(path.relative_to(ROOT).as_posix()):
                to = target / (path.name if source.is_file() else path.relative_to(source))
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to)
            elif source.is_file():
                raise ValueError(f"{word} is kept out by {DOCKERFILE.name}.dockerignore")


def is_sent(path: str) -> bool:
    """True if .dockerignore allows this file in the build. The last matching pattern decides."""
    sent = True
    for line in (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!").rstrip("/")
        if line.strip() and not line.startswith("#") and re.match(_regex(pattern), path):
            sent = line.startswith("!")
    return sent


def _regex(pattern: str) -> str:
    parts = {"**/": "(.*/)?", "*": "[^/]*"}
    tokens = re.split(r"(\*\*/|\*)", pattern)
    return "".join(parts.get(token) or re.escape(token) for token in tokens) + "(/.*)?$"


if __name__ == "__main__":
    made = follow(Path(sys.argv[1]).resolve(), say=True)
    sys.stdout.write(f"made {made.root}; would run {made.others['ENTRYPOINT']} as {made.others['USER']}\n")
