"""docker-compose.yml, with the variables of example.env and of make_env."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Mapping

from tests.support.tools import ROOT

FOLDER = ROOT / "docker"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def example() -> dict[str, str]:
    """The variables of example.env, whose secrets are placeholders."""
    return _variables((FOLDER / "example.env").read_text(encoding="utf-8"))


@functools.cache
def made(*arguments: str) -> dict[str, str]:
    """The variables that `make_env` prints, with random secrets."""
    command = [str(FOLDER / "make_env"), *arguments]
    return _variables(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


def interpolated(given: Mapping[str, str] | None = None) -> str:
    """The file with these variables, by default those of `make_env try`, as `docker compose` puts them in."""
    given = made("try") if given is None else given

    def value(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if kind == "?":
            return given[name]  # a KeyError tells which one the example lacks
        return given.get(name, text or "")

    return _VARIABLE.sub(value, (FOLDER / "docker-compose.yml").read_text(encoding="utf-8"))
