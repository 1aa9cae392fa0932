"""Partitions change hands at a stop. Nothing is submitted twice, nothing is lost.

tests/devservices/test_handover_on_apache_kafka.py has workers that join: the embedded broker may refuse the commit of
the one that gives partitions up, where Apache Kafka takes it.
"""

from __future__ import annotations

import asyncio

from apps.sms import events
from apps.sms.delivery.jobs import Job, Partition, Place
from apps.sms.delivery.outcomes import Outcomes
from tests.support.delivery import (
    PARTITIONS,
    RunningWorker,
    ScriptedOperator,
    Work,
    assert_each_once,
    config_of_its_own,
    produce,
    requested,
    wait_until,
)


def work_of_different_paces() -> Work:
    """Slow customers' messages stand between fast ones' in every partition of every lane, the slowest first."""
    work: Work = []
    for number in range(600):
        partition = number % PARTITIONS
        pace = 10 if number % 20 < PARTITIONS else 1000
        priority = ("normal", "bulk", "otp")[number // 20 % 3]
        customer_id = f"{partition}-{pace}"
        work.append((partition, requested(customer_id=customer_id, segments_per_second=pace, priority=priority)))
    return work


def test_a_stop_in_the_middle_neither_loses_nor_repeats_a_message() -> None:
    config = config_of_its_own()
    work = work_of_different_paces()
    produce(config, work)
    first, second = ScriptedOperator(), ScriptedOperator()
    with RunningWorker(config, first):
        # The fast customers' 480 are out then, and slow ones' stand before most of them.
        wait_until(lambda: first.accepted.total() > 520)
    assert first.accepted.total() < len(work)
    with RunningWorker(config, second):
        wait_until(lambda: first.accepted.total() + second.accepted.total() >= len(work))
    assert_each_once(config, work, first, second)


def test_what_is_in_flight_at_a_stop_ends_before_the_worker_does() -> None:
    config = config_of_its_own()
    work: Work = [(0, requested(customer_id=str(number))) for number in range(20)]
    produce(config, work)
    answer = asyncio.Event()

    async def slowly(message: events.DeliveryRequested) -> str:
        await answer.wait()
        return f"op-{message.message_id}"

    operator = ScriptedOperator(slowly)
    with RunningWorker(config, operator) as worker:
        wait_until(lambda: operator.submits.total() == len(work))
        worker.process.stop()
        worker.call(answer.set)
    assert_each_once(config, work, operator)


def test_an_operator_that_never_answers_does_not_keep_the_worker_from_stopping() -> None:
    config = config_of_its_own(drain_timeout=0.2)
    work: Work = [(0, requested(customer_id=str(number))) for number in range(5)]
    produce(config, work)

    async def never(_message: events.DeliveryRequested) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    silent, answering = ScriptedOperator(never), ScriptedOperator()
    with RunningWorker(config, silent) as worker:
        wait_until(lambda: silent.submits.total() == len(work))
    assert worker.error is None
    with RunningWorker(config, answering):
        wait_until(lambda: answering.accepted.total() == len(work))
    assert_each_once(config, work, silent, answering)


def test_what_is_cancelled_while_kafka_does_not_confirm_gives_its_place_back() -> None:
    """Else a connection would have one place less after each such hand-over, until it stood still."""

    class Silent:
        async def publish(self, _record: object) -> None:
            await asyncio.Event().wait()

    async def scenario() -> int:
        config = config_of_its_own()
        outcomes = Outcomes(Silent(), None, config=config)  # type: ignore[arg-type]
        given_back: list[None] = []
        for end in (
            lambda job: outcomes.finish(job, "submitted", operator="mci", then=lambda: given_back.append(None)),
            lambda job: outcomes.put_off(job, operator="mci", error="busy", then=lambda: given_back.append(None)),
        ):
            task = asyncio.create_task(end(Job(requested(), Place(Partition("t", 0), 0))))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return len(given_back)

    assert asyncio.run(scenario()) == 2
