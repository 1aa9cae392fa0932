"""A partition that goes to another bridge: what was read of it is that one's to commit."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from apps.reporting.ingest.process import Lag, Writer
from apps.reporting.ingest.refresher import Refresher
from smsgateway.clickhouse import ClickHouse
from tests.support.delivery import config_of_its_own


def unreadable(topic: str, partition: int, offset: int) -> Any:
    message = MagicMock()
    message.topic.return_value, message.partition.return_value, message.offset.return_value = topic, partition, offset
    message.value.return_value = b"no event"
    return message


@pytest.mark.parametrize("when", ["inserted", "written"])
def test_nothing_is_committed_for_a_revoked_partition(when: str) -> None:
    config = config_of_its_own().kafka
    database = cast(ClickHouse, None)  # of what nobody can read nothing is inserted
    refresher = Refresher(database=database)
    writer = Writer(config=config, database=database, refresher=refresher, lag=Lag(MagicMock()))
    try:
        stays, goes = (config.topic_status, 0), (config.topic_status, 1)
        messages = [unreadable(*stays, 7), unreadable(*goes, 3)]
        assert len(writer.write(messages)) == 2
        writer.written(messages)
        if when == "inserted":
            writer.write([])
            writer.written([])
        writer.forget({goes})
        committed = [(place.topic, place.partition, place.offset) for place in writer.finish()]
        assert committed == [(*stays, 8)]
    finally:
        writer.close()
        refresher.close()
