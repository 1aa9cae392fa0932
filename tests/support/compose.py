"""docker-compose.yml, with the variables of example.env."""

from __future__ import annotations

import re

from tests.support.tools import ROOT

FOLDER = ROOT / "docker"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def example() -> dict[str, str]:
    lines = (FOLDER / "example.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolated() -> str:
    """The file with the variables of example.env, as `docker compose` puts them in."""
    given = example()

    def value(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if kind == "?":
            return given[name]  # a KeyError tells which one the example lacks
        return given.get(name, text or "")

    return _VARIABLE.sub(value, (FOLDER / "docker-compose.yml").read_text(encoding="utf-8"))
