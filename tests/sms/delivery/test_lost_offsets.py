"""The group's offsets are lost while the topics have days of messages: none of them is submitted again."""

from __future__ import annotations

import dataclasses

import pytest

from apps.sms import events
from apps.sms.delivery.jobs import Partition, Place
from apps.sms.delivery.lost_offsets import LostOffsets, OffsetsLost
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from tests.support.delivery import (
    PARTITIONS,
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    read_statuses,
    requested,
    wait_until,
)


def without_offsets(config: Config, **changes: str) -> Config:
    """The same topics, read by a group that has committed nothing."""
    own = dataclasses.replace(config.kafka, consumer_group_prefix=ids.to_text(ids.new_id()), **changes)
    return dataclasses.replace(config, kafka=own)


def deliver(config: Config, sent: list[events.DeliveryRequested]) -> ScriptedOperator:
    """Let a worker submit these messages, and stop it."""
    produce(config, [(number % PARTITIONS, message) for number, message in enumerate(sent)])
    operator = ScriptedOperator()
    with RunningWorker(config, operator) as running:
        wait_until(lambda: operator.accepted.total() >= len(sent))
    assert running.error is None
    return operator


def test_what_was_submitted_is_not_submitted_again_and_the_rest_is() -> None:
    config = config_of_its_own()
    old = [requested() for _ in range(40)]
    deliver(config, old)
    new = [requested(priority="otp"), requested(), requested(priority="bulk")]
    operator = deliver(without_offsets(config), new)
    assert set(operator.accepted) == {message.message_id for message in new}
    assert len(read_statuses(config)) == len(old) + len(new)


def test_a_message_on_two_topics_is_submitted_once() -> None:
    """It was put off before the offsets were lost: its first copy is on the lane, its second on a retry topic."""
    config = config_of_its_own()
    deliver(config, [requested()])  # there is a status, so the group has read before
    message, last = requested(customer_id="A"), requested(customer_id="A")
    retry = config.kafka.retry_topics[0][1]
    producer = kafka.producer(config.kafka, client_id="test")
    kafka.publish_and_wait(producer, [kafka.Record(retry, b"A", events.encode(message), [], 0)] * 2)
    produce(config, [(0, message), (0, last)])
    operator = ScriptedOperator()
    with RunningWorker(without_offsets(config), operator) as running:
        wait_until(lambda: operator.accepted.total() >= 2)
    assert running.error is None
    assert operator.accepted == {message.message_id: 1, last.message_id: 1}


def test_a_message_that_postgresql_holds_is_not_submitted() -> None:
    config = config_of_its_own()
    deliver(config, [requested()])
    held, released = requested(copy=5), requested(copy=9)
    producer = kafka.producer(config.kafka, client_id="test")
    for message in (held, released):
        event = events.MessageHeld(message_id=message.message_id, customer_id="CUSTOMER", at=1, copy=5)
        kafka.publish_and_wait(producer, [kafka.Record(config.kafka.topic_held, b"CUSTOMER", events.encode(event), [])])
    produce(config, [(0, held), (0, released)])
    operator = ScriptedOperator()
    with RunningWorker(without_offsets(config), operator):
        wait_until(lambda: operator.accepted.total() >= 1)
    assert operator.accepted == {released.message_id: 1}


def test_a_worker_stops_with_one_line_if_it_must_not_decide() -> None:
    config = config_of_its_own()
    deliver(config, [requested()])
    operator = ScriptedOperator()
    with RunningWorker(without_offsets(config, lost_offsets="stop"), operator) as running:
        wait_until(lambda: running.error is not None)
    assert isinstance(running.error, OffsetsLost)
    assert operator.submits == {}


def test_a_gateway_that_has_never_run_sends_what_waits() -> None:
    config = config_of_its_own()
    config = dataclasses.replace(config, kafka=dataclasses.replace(config.kafka, lost_offsets="stop"))
    operator = deliver(config, [requested() for _ in range(10)])
    assert operator.accepted.total() == 10


def test_too_much_to_read_names_the_command() -> None:
    config = config_of_its_own()
    deliver(config, [requested() for _ in range(3)])
    lost = LostOffsets(config.kafka, limit=2)
    with pytest.raises(OffsetsLost, match=r"3 status events are too many to read\. Run manage\.py recover --offsets"):
        lost.take_over([Partition(config.kafka.topic_delivery, 0)])


def test_a_partition_that_comes_back_is_read_again() -> None:
    """A worker that gave a partition up before it was done has submitted nothing of what it read last."""
    config = config_of_its_own()
    deliver(config, [requested()])
    message = requested()
    produce(config, [(number, message) for number in (0, 1)])
    places = [Partition(config.kafka.topic_delivery, number) for number in (0, 1)]
    lost = LostOffsets(config.kafka)
    lost.take_over(places)
    assert not lost.is_done(Place(places[0], 1), message)
    lost.forget(places[:1])
    lost.take_over(places[:1])
    assert not lost.is_done(Place(places[0], 1), message)
