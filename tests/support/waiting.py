"""Wait for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WAIT_SECONDS = 120


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Poll until the condition holds and return its value."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {WAIT_SECONDS} s in vain for {what}")
        time.sleep(0.05)
    return value
