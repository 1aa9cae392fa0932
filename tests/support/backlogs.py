"""Backlogs of customers that overflow a worker's queues."""

from __future__ import annotations

from typing import Any

from prometheus_client import REGISTRY

from apps.sms import events
from tests.support.delivery import ScriptedOperator, requested

Messages = list[events.DeliveryRequested]


def overflowed() -> float:
    return REGISTRY.get_sample_value("delivery_overflowed_total") or 0.0


def backlog_of(customer_id: str, count: int, **changes: Any) -> Messages:
    return [requested(customer_id=customer_id, **changes) for _ in range(count)]


def together(backlogs: list[Messages]) -> Messages:
    """Messages of these backlogs in turn."""
    return [message for messages in zip(*backlogs, strict=True) for message in messages]


def assert_each_once_in_order(backlogs: list[Messages], *operators: ScriptedOperator) -> None:
    accepted = [message_id for operator in operators for message_id in operator.accepted.elements()]
    for messages in backlogs:
        wanted = [message.message_id for message in messages]
        own = set(wanted)
        assert [message_id for message_id in accepted if message_id in own] == wanted
    assert len(accepted) == sum(len(messages) for messages in backlogs)
