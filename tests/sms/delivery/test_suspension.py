"""A suspended customer's messages are not sent, from any place where they wait: the worker passes them to
settlement."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from apps.sms import events
from apps.sms.operators.base import TransientSubmitError
from smsgateway.config import Config
from tests.support.delivery import (
    RunningWorker,
    ScriptedOperator,
    Suspended,
    config_of_its_own,
    produce,
    read_held,
    read_statuses,
    requested,
    wait_until,
)

Wait = Callable[[Callable[[], bool]], None]


def messages(count: int, **changes: Any) -> list[events.DeliveryRequested]:
    return [requested(customer_id="BAD", **changes) for _ in range(count)]


def held_ids(config: Config) -> list[str]:
    return [event.message_id for event in read_held(config)]


@pytest.mark.parametrize("priority", ["otp", "normal", "bulk"])
def test_nothing_of_a_suspended_customer_is_sent_and_others_go_on(priority: str) -> None:
    config = config_of_its_own()
    bad = messages(20, priority=priority, copy=17)
    good = [requested(customer_id="GOOD") for _ in range(20)]
    produce(config, [(1, message) for pair in zip(bad, good, strict=True) for message in pair])
    operator = ScriptedOperator()
    with RunningWorker(config, operator, suspensions=Suspended("BAD")):
        wait_until(lambda: len(held_ids(config)) == 20 and operator.accepted.total() == 20)
    assert set(operator.submits) == {message.message_id for message in good}
    held = read_held(config)
    assert {event.message_id for event in held} == {message.message_id for message in bad}
    assert {(event.customer_id, event.copy, event.attempts) for event in held} == {("BAD", 17, 0)}


@pytest.mark.parametrize("queue_size", [1000, 5], ids=["in memory", "on overflow lanes"])
def test_what_waits_when_its_customer_is_suspended_is_held_once_each(queue_size: int) -> None:
    """At 20 a second of 300 messages most wait, in queues or on overflow lanes."""
    config = config_of_its_own(queue_size=queue_size)
    bad = messages(300, segments_per_second=20)
    produce(config, [(1, message) for message in bad])
    operator, suspensions = ScriptedOperator(), Suspended()
    with RunningWorker(config, operator, suspensions=suspensions) as running:
        wait_until(lambda: operator.accepted.total() >= 5)
        suspensions.customers = frozenset({"BAD"})
        wait_until(lambda: len(held_ids(config)) + operator.accepted.total() == 300)
        sent = set(operator.accepted)
        # Nothing is sent any more, though this customer's pace would allow it.
        produce(config, [(1, requested(customer_id="GOOD", segments_per_second=20)) for _ in range(40)])
        wait_until(lambda: operator.accepted.total() == len(sent) + 40)
        assert not running.error
    assert sent.isdisjoint(held_ids(config))
    assert sent | set(held_ids(config)) == {message.message_id for message in bad}
    assert len(held_ids(config)) == len(set(held_ids(config)))


def test_a_message_between_two_tries_is_held_with_the_tries_it_had() -> None:
    config = config_of_its_own(retry_base=3000.0, retry_cap=3000.0)

    async def busy(_message: events.DeliveryRequested) -> str:
        raise TransientSubmitError("busy")

    [message] = messages(1)
    produce(config, [(1, message)])
    operator, suspensions = ScriptedOperator(busy), Suspended()
    with RunningWorker(config, operator, suspensions=suspensions) as running:
        wait_until(lambda: operator.submits.total() == 1 and len(running.worker._delayed) == 1)
        suspensions.customers = frozenset({"BAD"})
        wait_until(lambda: len(held_ids(config)) == 1)
        assert len(running.worker._delayed) == 0
    [event] = read_held(config)
    assert (event.attempts, event.delays) == (1, 1)
    # The next owner of the partition reads nothing of it again.
    with RunningWorker(config, operator, suspensions=suspensions):
        produce(config, [(1, requested(customer_id="BAD", message_id=message.message_id[::-1]))])
        wait_until(lambda: len(held_ids(config)) == 2)


def test_a_message_for_an_operator_that_is_down_is_held() -> None:
    config = config_of_its_own(outage_patience=0.5)
    operator, suspensions = ScriptedOperator(), Suspended()
    operator.is_connected = False
    [waits, comes] = messages(2)
    produce(config, [(1, waits)])
    with RunningWorker(config, operator, suspensions=suspensions) as running:
        wait_until(lambda: len(running.worker._delayed) == 1)
        suspensions.customers = frozenset({"BAD"})
        produce(config, [(1, comes)])
        wait_until(lambda: set(held_ids(config)) == {waits.message_id, comes.message_id})
    assert not operator.submits


def test_a_submit_that_comes_back_after_the_suspension_is_held() -> None:
    config = config_of_its_own()
    suspensions = Suspended()

    async def refuse(_message: events.DeliveryRequested) -> str:
        suspensions.customers = frozenset({"BAD"})
        await asyncio.sleep(0)
        raise Throttle(0.0)

    from apps.sms.operators.base import Throttled as Throttle

    [message] = messages(1)
    produce(config, [(1, message)])
    operator = ScriptedOperator(refuse)
    with RunningWorker(config, operator, suspensions=suspensions):
        wait_until(lambda: held_ids(config) == [message.message_id])
    assert operator.submits.total() == 1


def test_what_expires_meanwhile_expires() -> None:
    config = config_of_its_own()
    [message] = messages(1, expires_at=int(time.time() * 1000) - 1)
    produce(config, [(1, message)])
    with RunningWorker(config, ScriptedOperator(), suspensions=Suspended("BAD")):
        wait_until(lambda: len(read_statuses(config)) == 1)
    [event] = read_statuses(config)
    assert (event.status, event.error) == ("expired", "validity_ended")
    assert held_ids(config) == []


def test_a_customer_that_is_active_again_is_sent_for() -> None:
    config = config_of_its_own()
    suspensions = Suspended("BAD")
    [before, after] = messages(2)
    produce(config, [(1, before)])
    operator = ScriptedOperator()
    with RunningWorker(config, operator, suspensions=suspensions):
        wait_until(lambda: held_ids(config) == [before.message_id])
        suspensions.customers = frozenset()
        produce(config, [(1, after)])
        wait_until(lambda: operator.accepted[after.message_id] == 1)
    assert operator.submits.total() == 1
