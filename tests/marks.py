"""pytest plugin: marks the slow tests, and shares the tests out to the processes of pytest-xdist.

The tests of a group run one after another in one process. The processes begin with the groups, and take one test after
another from the rest, the slow ones first: at the end only short ones are left.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support import needs

# Marks of tests that start many processes: no two tests of a group run at once. Most of their time they wait, so that
# the groups may run beside each other.
_GROUPS = {"flow": "flow", "apache_kafka": "servers", "foreign_smpp": "servers", "browser": "browser", "kills": "kills"}
_SLOW = (*_GROUPS, "breaks")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files of slow tests unread where those are not wanted."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if is_test and config.option.markexpr == "not slow" and needs.is_slow(collection_path) else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark the slow tests, group those that start many processes, and begin with both."""
    for item in items:
        if group := next((group for mark, group in _GROUPS.items() if item.get_closest_marker(mark)), None):
            item.add_marker(pytest.mark.xdist_group(group))
        if needs.is_slow(item.path) or any(item.get_closest_marker(name) for name in _SLOW):
            item.add_marker(pytest.mark.slow)
    yield
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
