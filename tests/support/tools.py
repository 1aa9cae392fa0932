"""Tools of others that these tests ask: from the PATH or from .tools/bin, where .ci/run puts those it builds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT = ROOT / ".tools" / "bin"


def tool(*names: str) -> str:
    """The first of these that is there. Without any the test is skipped, or fails under REQUIRE_<FIRST NAME>."""
    for name in names:
        if found := shutil.which(name) or shutil.which(name, path=str(BUILT)):
            return found
    required = f"REQUIRE_{names[0].upper().replace('-', '_')}"
    missing = f"{' or '.join(names)} is not at hand (scripts/check_tools.sh builds what Go can build)"
    if os.environ.get(required):
        pytest.fail(f"{missing}, and {required} is set")
    pytest.skip(missing)
