"""What scripts/openapi_tools.sh installs, and where."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from tests.support.tools import ROOT

PINNED = ROOT / "tests" / "clients"
TOOLS = ROOT / ".tools" / "clients"
NODE_MODULES = TOOLS / "node" / "node_modules"

FOLDERS = {
    "go": TOOLS / "bin",
    "node": NODE_MODULES / ".bin",
    "python": TOOLS / "python" / "bin",
}
_STAMPS = {
    "go": TOOLS / "go-installed",
    "node": TOOLS / "node" / "installed",
    "python": TOOLS / "python" / "installed",
}


def require(language: str) -> Mapping[str, str]:
    """The environment with this language's tools on the PATH.

    Without them the test is skipped, or fails under REQUIRE_OPENAPI_CLIENTS.
    """
    if not _STAMPS[language].exists():
        missing = f"the OpenAPI tools for {language} are not installed (run scripts/openapi_tools.sh)"
        if os.environ.get("REQUIRE_OPENAPI_CLIENTS"):
            pytest.fail(missing)
        pytest.skip(missing)
    path = f"{FOLDERS[language]}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "NO_UPDATE_NOTIFIER": "1", "REDOCLY_TELEMETRY": "off"}
