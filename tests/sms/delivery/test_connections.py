"""Operators fail, refuse, throttle and come back: traffic takes another route or waits, and nobody else notices."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from apps.sms import events
from apps.sms.operators.base import Limits, PermanentSubmitError, Throttled, TransientSubmitError
from tests.support.delivery import (
    PARTITIONS,
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    read_all,
    read_statuses,
    requested,
    wait_until,
)


class FirstThenSecond:
    """Every message goes by `first`, else by `second`; those that name another operator by that alone."""

    def choose(self, message: events.DeliveryRequested) -> tuple[str, ...]:
        return ("first", "second") if message.operator == "scripted" else (message.operator,)


class Moody(ScriptedOperator):
    """Raises `fault()` while that is something."""

    def __init__(self, name: str, *, limits: Limits | None = None) -> None:
        self.fault: Callable[[], Exception] | None = None
        super().__init__(self._answer_or_fail, name=name, **({"limits": limits} if limits else {}))

    async def _answer_or_fail(self, message: events.DeliveryRequested) -> str:
        if self.fault:
            raise self.fault()
        return f"op-{message.message_id}"


def unreachable() -> Exception:
    return TransientSubmitError("unreachable")


def spread(messages: list[events.DeliveryRequested]) -> list[tuple[int, events.DeliveryRequested | bytes]]:
    return [(number % PARTITIONS, message) for number, message in enumerate(messages)]


def some(count: int, **changes: object) -> list[events.DeliveryRequested]:
    return [requested(customer_id=f"C{number % 7}", **changes) for number in range(count)]


def test_traffic_fails_over_while_an_operator_is_down_and_comes_back_by_itself() -> None:
    config = config_of_its_own(retry_base=0.05, retry_cap=0.2, breaker_failures=3, breaker_seconds=0.3)
    first, second = Moody("first", limits=Limits(in_flight=5)), Moody("second")
    first.fault = unreachable
    sent = some(100)
    produce(config, spread(sent))
    with RunningWorker(config, first, second, routes=FirstThenSecond()):
        wait_until(lambda: second.accepted.total() == 100)
        assert first.accepted.total() == 0
        assert first.submits.total() < 50, "the circuit did not open"
        first.fault = None

        def first_takes_again() -> bool:
            more = some(5)
            sent.extend(more)
            produce(config, spread(more))
            wait_until(lambda: first.accepted.total() + second.accepted.total() == len(sent))
            return first.accepted.total() > 20

        wait_until(first_takes_again)
    assert first.accepted + second.accepted == Counter(message.message_id for message in sent)
    reported = {event.message_id: event.operator for event in read_statuses(config)}
    taken = dict.fromkeys(first.accepted, "first") | dict.fromkeys(second.accepted, "second")
    assert reported == taken, "the status event has the route taken"


def test_without_another_route_messages_wait_on_kafka_and_others_go_on() -> None:
    config = config_of_its_own(
        retry_base=0.05, retry_cap=0.2, breaker_failures=3, breaker_seconds=0.2, outage_patience=0.1, max_retries=3
    )
    alone, other = Moody("alone"), Moody("other")
    alone.fault = unreachable
    waiting, passing = some(200, operator="alone"), some(200, operator="other")
    produce(config, spread([message for pair in zip(waiting, passing, strict=True) for message in pair]))
    retries = [topic for _, topic in config.kafka.retry_topics]
    with RunningWorker(config, alone, other):
        wait_until(lambda: other.accepted.total() == 200)
        wait_until(lambda: sum(len(read_all(config, topic)) for topic in retries) >= 200)
        assert alone.accepted.total() == 0
        alone.fault = None
        wait_until(lambda: alone.accepted.total() == 200)
    statuses = Counter(event.status for event in read_statuses(config))
    assert statuses == {"submitted": 400}, "an outage spends the tries of the messages that noticed it, and of no other"


def test_nothing_is_submitted_on_a_connection_that_is_not_bound() -> None:
    config = config_of_its_own(retry_base=0.05, retry_cap=0.2, outage_patience=0.1)
    unbound, other = ScriptedOperator(name="unbound"), ScriptedOperator(name="other")
    unbound.is_connected = False
    produce(config, spread(some(50, operator="unbound") + some(50, operator="other")))
    with RunningWorker(config, unbound, other):
        wait_until(lambda: other.accepted.total() == 50)
        assert unbound.submits.total() == 0
        unbound.is_connected = True
        wait_until(lambda: unbound.accepted.total() == 50)
    assert set(unbound.submits.values()) == {1}


def test_a_message_that_one_route_refuses_goes_by_the_next_and_is_rejected_by_the_last() -> None:
    config = config_of_its_own()
    first, second = Moody("first"), Moody("second")
    first.fault = lambda: PermanentSubmitError("not_our_number")
    sent = some(20)
    produce(config, spread(sent))
    with RunningWorker(config, first, second, routes=FirstThenSecond()):
        wait_until(lambda: second.accepted.total() == 20)
        second.fault = lambda: PermanentSubmitError("blocked")
        refused = some(20)
        produce(config, spread(refused))
        wait_until(lambda: second.submits.total() == 40)
    ended = {event.message_id: event for event in read_statuses(config)}
    assert {(ended[message.message_id].status, ended[message.message_id].operator) for message in sent} == {
        ("submitted", "second")
    }
    ends = {(event.status, event.operator, event.error) for event in (ended[one.message_id] for one in refused)}
    assert ends == {("rejected", "second", "blocked")}
    assert set(first.submits.values()) == {1}


def test_tries_are_counted_over_a_restart() -> None:
    config = config_of_its_own(retry_base=0.05, retry_cap=0.1, max_retries=7, breaker_failures=10_000)
    down = Moody("scripted")
    down.fault = lambda: TransientSubmitError("http_503")
    sent = some(12)
    produce(config, spread(sent))
    with RunningWorker(config, down):
        wait_until(lambda: down.submits.total() > 36)
    with RunningWorker(config, down):
        wait_until(lambda: down.submits.total() == 12 * 8)
    assert set(down.submits.values()) == {8}
    assert Counter((event.status, event.attempt) for event in read_statuses(config)) == {("failed", 8): 12}


def test_a_connection_keeps_its_window_and_its_pace_in_segments_over_all_customers() -> None:
    config = config_of_its_own()
    in_flight, most = 0, 0
    times: list[tuple[float, int]] = []

    async def answer(message: events.DeliveryRequested) -> str:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        times.append((time.monotonic(), message.segments))
        await asyncio.sleep(0.05)
        in_flight -= 1
        return f"op-{message.message_id}"

    narrow = ScriptedOperator(answer, limits=Limits(in_flight=4, segments_per_second=40))
    sent = some(75, segments=2)
    produce(config, spread(sent))
    with RunningWorker(config, narrow):
        wait_until(lambda: narrow.accepted.total() == 75)
    assert most <= 4
    for start, _ in times:
        # The bucket's second, one message's debt, and what the clock may be off.
        assert sum(segments for at, segments in times if start <= at < start + 1) <= 2 * 40 + 2 + 2


def test_an_operator_that_throttles_is_left_alone_for_a_while_and_no_try_is_spent() -> None:
    config = config_of_its_own(max_retries=0)
    busy, other = Moody("busy"), Moody("other")
    busy.fault = lambda: Throttled(retry_after=0.2)
    produce(config, spread(some(100, operator="busy") + some(100, operator="other")))
    with RunningWorker(config, busy, other):
        wait_until(lambda: other.accepted.total() == 100)
        wait_until(lambda: busy.submits.total() > 0)
        busy.fault = None
        wait_until(lambda: busy.accepted.total() == 100)
    assert Counter(event.status for event in read_statuses(config)) == {"submitted": 200}
