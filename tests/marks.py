"""pytest plugin: marks the slow tests, and runs them first.

pytest-xdist gives a whole file to one process (`--dist loadfile`), so that what a file's tests share is made once. The
files that take longest come first: at the end only short ones are left.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support import needs

# Marks of tests that start many processes or kill them. They take longest.
_LONG = ("flow", "apache_kafka", "foreign_smpp", "browser", "kills")
_SLOW = (*_LONG, "breaks")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files of slow tests unread where those are not wanted."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if is_test and config.option.markexpr == "not slow" and needs.is_slow(collection_path) else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark the slow tests, and begin with the files that take longest."""
    long: set[Path] = set()
    for item in items:
        if any(item.get_closest_marker(name) for name in _LONG):
            long.add(item.path)
        if needs.is_slow(item.path) or any(item.get_closest_marker(name) for name in _SLOW):
            item.add_marker(pytest.mark.slow)
    yield
    items.sort(key=lambda item: 0 if item.path in long else 1 if needs.is_slow(item.path) else 2)
