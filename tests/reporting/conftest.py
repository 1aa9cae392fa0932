"""ClickHouse with its schema, and topics for `manage.py ingest`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.conf import settings

from smsgateway import ids
from smsgateway.config.kafka import Kafka
from tests.support import ingest
from tests.support.clickhouse import away, database

__all__ = ["away", "database"]


@pytest.fixture
def customer() -> UUID:
    return ids.new_id()


@pytest.fixture
def config() -> Kafka:
    """Topics and a consumer group that no other test has."""
    own = ids.to_text(ids.new_id()).lower()
    return dataclasses.replace(
        settings.CONFIG.kafka,
        topic_accepted=f"{own}.accepted",
        topic_status=f"{own}.status",
        topic_dead_letter=f"{own}.dlq",
        consumer_group_prefix=own,
        # The embedded broker notices that a consumer has left only when its session ends, and gathers a group's
        # members for 3 seconds, which the session must outlast on a busy machine too.
        consumer_session_timeout=6000,
    )


@pytest.fixture(autouse=True)
def close_askers() -> Iterator[None]:
    """Close the clients that `committed` has asked with."""
    yield
    ingest.close_askers()
