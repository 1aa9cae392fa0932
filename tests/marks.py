"""pytest plugin: marks the slow tests, and shares the tests out to the processes of pytest-xdist.

The process that gets the group `whole_machine` begins with it, and so runs its tests one after another; the others take
one test after another from the rest, the slow ones first: at the end only short ones are left.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support import needs

# These keep every core busy, or measure what they wait for: with pytest-xdist no two of them run at once.
_WHOLE_MACHINE = ("flow", "apache_kafka", "foreign_smpp", "browser", "kills")
_SLOW = (*_WHOLE_MACHINE, "breaks")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files of slow tests unread where those are not wanted."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if is_test and config.option.markexpr == "not slow" and needs.is_slow(collection_path) else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark the slow tests, group those that use the whole machine, and begin with both."""
    for item in items:
        if any(item.get_closest_marker(name) for name in _WHOLE_MACHINE):
            item.add_marker(pytest.mark.xdist_group("whole_machine"))
        if needs.is_slow(item.path) or any(item.get_closest_marker(name) for name in _SLOW):
            item.add_marker(pytest.mark.slow)
    yield
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
