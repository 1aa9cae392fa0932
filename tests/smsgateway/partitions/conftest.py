"""An archive in a folder, and an old day with messages, charges and statuses in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smsgateway import partitions
from tests.support.partitions import OLD_DAY, clear, configure


@pytest.fixture
def archive(settings: Any, tmp_path: Path) -> Path:
    """The archive's folder, in the settings; retention 90 days for all."""
    configure(settings, archive=str(tmp_path / "archive"), ledger_keep_days=90, submits_keep_days=90)
    return tmp_path / "archive"


@pytest.fixture
def old_partitions(transactional_db: None) -> Iterator[list[str]]:
    """Partitions of a day a hundred days ago; what the test leaves of them and of the archive's records goes."""
    clear()
    yield partitions.create(first=OLD_DAY, days=1)
    clear()
