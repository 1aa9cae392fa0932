"""The worker keeps within its bounds, and ends when a part of it does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from django.core.management import CommandError, call_command
from prometheus_client import REGISTRY

from smsgateway.kafka import client as kafka
from tests.support.delivery import RunningWorker, ScriptedOperator, config_of_its_own, produce, requested, wait_until


def paused() -> float | None:
    return REGISTRY.get_sample_value("delivery_paused_partitions")


def test_a_full_queue_pauses_its_partition_only_and_resumes() -> None:
    config = config_of_its_own(queue_size=20)
    # More than one batch: a lane of which everything is in memory is not paused.
    slow = [requested(customer_id="slow", segments_per_second=300) for _ in range(1550)]
    produce(config, [(0, event) for event in slow[:1500]])
    operator = ScriptedOperator()
    with RunningWorker(config, operator):
        wait_until(lambda: paused() == 1)
        other = [requested(customer_id="other") for _ in range(50)]
        produce(config, [(0, event) for event in slow[1500:]] + [(1, event) for event in other])
        wait_until(lambda: all(event.message_id in operator.accepted for event in other))
        assert not any(event.message_id in operator.submits for event in slow[1500:])
        wait_until(lambda: operator.accepted.total() == 1600)
        wait_until(lambda: paused() == 0)


def test_a_part_that_fails_ends_the_worker_with_its_error() -> None:
    class Fenced:
        """A producer that can publish nothing any more."""

        def produce(self, *_arguments: object, **_options: object) -> None:
            raise KafkaException(KafkaError(KafkaError._FATAL))

    config = config_of_its_own()
    produce(config, [(0, requested())])
    with RunningWorker(config, ScriptedOperator(), producer=Fenced()) as worker:  # type: ignore[arg-type]
        worker.wait()
    assert isinstance(worker.error, KafkaException)


def test_a_stop_before_the_start_is_not_missed() -> None:
    config = config_of_its_own()
    worker = RunningWorker(config, ScriptedOperator())
    worker.process.stop()
    with worker:
        worker.wait()
    assert worker.error is None


def test_an_otp_overtakes_a_backlog_and_all_lanes_keep_one_pace() -> None:
    config = config_of_its_own(queue_size=20, concurrency=1)
    lanes = ("normal", "bulk")
    backlog = [requested(segments_per_second=40, priority=lanes[number % 2]) for number in range(160)]
    produce(config, [(2, event) for event in backlog])
    operator = ScriptedOperator()
    with RunningWorker(config, operator):
        wait_until(lambda: operator.accepted.total() >= 45)
        before = operator.accepted.total()
        urgent = requested(segments_per_second=40, priority="otp")
        produce(config, [(2, urgent)])
        wait_until(lambda: urgent.message_id in operator.accepted)
        assert operator.accepted.total() < 150, "it waited for the backlog"
        wait_until(lambda: operator.accepted.total() == 161)
    order = list(operator.accepted)
    assert order.index(urgent.message_id) >= before
    normal = [order.index(event.message_id) for event in backlog if event.priority == "normal"]
    bulk = [order.index(event.message_id) for event in backlog if event.priority == "bulk"]
    assert sum(normal) / len(normal) < sum(bulk) / len(bulk)


def test_lanes_of_different_sizes_stop_the_worker_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Uneven:
        """A consumer whose cluster has fewer partitions of one lane."""

        def list_topics(self, topic: str = "", **_options: object) -> SimpleNamespace:
            if not topic:
                return SimpleNamespace(topics={})
            partitions = dict.fromkeys(range(3 if topic.endswith(".otp") else 4))
            return SimpleNamespace(topics={topic: SimpleNamespace(partitions=partitions)})

    monkeypatch.setattr(kafka, "consumer", lambda *_arguments, **_options: Uneven())
    with pytest.raises(CommandError, match=r"sms\.delivery\.otp': 3.*must have as many partitions"):
        call_command("deliver")
