"""A phone that accepts nothing makes only its own messages wait."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import smpp34
import structlog
from prometheus_client import REGISTRY

from apps.sms import events
from apps.sms.delivery.breaker import CircuitBreaker
from apps.sms.delivery.connection import Connection
from apps.sms.delivery.pacing import Paces
from apps.sms.operators.base import Limits, QueueFull, TransientSubmitError
from apps.sms.operators.smpp import pdu
from apps.sms.operators.smpp.client import Smpp
from apps.sms.operators.smpp.pdu import Pdu
from smsgateway.config import SmppOperator
from tests.support.delivery import (
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    read_statuses,
    requested,
    wait_until,
)
from tests.support.smpp import NAME, ScriptedSmsc, count

FULL = "+989125550000"
OTHER = "+989125550001"


class Smsc(ScriptedSmsc):
    """Takes every message, but for one number, which it answers with `status` while that is something."""

    def __init__(self, status: int) -> None:
        super().__init__(self._submitted)
        self.status = status
        self.tried: Counter[str] = Counter()
        self.taken: list[str] = []  # numbers, in order

    def _submitted(self, received: Pdu) -> bytes | None:
        if received.command != pdu.SUBMIT_SM:
            return None
        submit = smpp34.decode(received.raw)
        assert isinstance(submit, smpp34.SubmitSm)
        number = f"+{submit.destination_addr}"
        self.tried[number] += 1
        if number == FULL and self.status:
            return pdu.response(received, self.status)
        self.taken.append(number)
        return pdu.response(received, 0, f"id-{len(self.taken)}")

    @contextmanager
    def running(self, **changes: Any) -> Iterator[SmppOperator]:
        """In a loop and thread of its own; the settings that lead to it."""
        ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
        found: list[SmppOperator] = []

        async def serve() -> None:
            async with self.listening(**changes) as settings:
                found.append(settings)
                ready.set()
                await stop.wait()

        def main() -> None:
            loop.run_until_complete(serve())
            loop.close()

        thread = threading.Thread(target=main, name="smsc")
        thread.start()
        try:
            assert ready.wait(60)
            yield found[0]
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()


def sends(number: str, **changes: Any) -> events.DeliveryRequested:
    return requested(operator=NAME, to=number, **changes)


def test_a_full_queue_of_one_number_slows_neither_1500_others_nor_a_one_time_password() -> None:
    config = config_of_its_own(retry_base=0.01, retry_cap=0.05, breaker_failures=2, max_retries=0)
    full = [sends(FULL, customer_id=f"C{number % 4}") for number in range(20)]
    others = [sends(f"+98912{number:07d}", customer_id=f"C{number % 4}") for number in range(1500)]
    throttled = count("delivery_throttled_total")
    smsc = Smsc(0x14)
    with smsc.running(in_flight=5) as settings, structlog.testing.capture_logs() as lines:
        with RunningWorker(config, Smpp(NAME, settings)) as worker:  # type: ignore[arg-type]
            produce(config, [(0, message) for message in full])
            # All traffic is what the full phone gets, and no try of a message is left: a circuit would open now.
            wait_until(lambda: smsc.tried[FULL] >= 60)
            produce(config, [(0, message) for message in others])
            wait_until(lambda: len(smsc.taken) > 100)
            produce(config, [(1, sends(OTHER, priority="otp", customer_id="OTP"))])
            wait_until(lambda: OTHER in smsc.taken)
            wait_until(lambda: len(smsc.taken) == 1501)
            tried = smsc.tried[FULL]
            wait_until(lambda: smsc.tried[FULL] > tried)  # it waits, and has not failed
            assert count("delivery_throttled_total") == throttled, "the connection was paused"
            assert count("delivery_circuit_open") == 0
            smsc.status = 0
            wait_until(lambda: len(smsc.taken) == 1521)
        assert worker.error is None
    assert not [line for line in lines if line["event"] == "circuit_opened"]
    assert Counter(event.status for event in read_statuses(config)) == {"submitted": 1521}


@pytest.mark.parametrize("status", [0x08, 0x45, 0x64, 0xFF, 0x0400])
def test_an_answer_that_may_be_about_one_number_opens_no_circuit_for_it_alone(status: int) -> None:
    config = config_of_its_own(retry_base=0.01, retry_cap=0.05, breaker_failures=2, max_retries=9)
    smsc = Smsc(status)
    with smsc.running() as settings, structlog.testing.capture_logs() as lines:
        with RunningWorker(config, Smpp(NAME, settings)) as worker:  # type: ignore[arg-type]
            produce(config, [(0, sends(FULL)) for _ in range(3)])
            wait_until(lambda: smsc.tried[FULL] == 30)
            produce(config, [(0, sends(OTHER, priority="otp"))])
            wait_until(lambda: OTHER in smsc.taken)
        assert worker.error is None
    assert not [line for line in lines if line["event"] == "circuit_opened"]
    assert Counter(event.status for event in read_statuses(config)) == {"failed": 3, "submitted": 1}


def test_an_operator_that_fails_for_everybody_opens_the_circuit() -> None:
    config = config_of_its_own(retry_base=0.01, retry_cap=0.05, breaker_failures=5, max_retries=50)
    faults: list[Callable[[], Exception]] = [lambda: TransientSubmitError("ESME_RSYSERR", concerns="unclear")]

    async def answer(message: events.DeliveryRequested) -> str:
        if faults:
            raise faults[0]()
        return f"op-{message.message_id}"

    operator = ScriptedOperator(answer, limits=Limits(in_flight=1))
    with structlog.testing.capture_logs() as lines, RunningWorker(config, operator):
        produce(config, [(0, requested(to=f"+98912000{number:04d}")) for number in range(20)])
        wait_until(lambda: any(line["event"] == "circuit_opened" for line in lines))
        faults.clear()
        wait_until(lambda: operator.accepted.total() == 20)
    assert REGISTRY.get_sample_value("delivery_circuit_open", {"operator": "scripted"}) == 0


def test_the_breaker_counts_a_number_once_until_something_succeeds() -> None:
    breaker = CircuitBreaker(failures=3, seconds=1.0)
    assert [breaker.failed(now=0.0, number=FULL) for _ in range(50)] == [False] * 50
    assert [breaker.failed(now=0.0, number=number) for number in (OTHER, "+989125550002")] == [False, True]
    breaker.submit_started()
    assert breaker.succeeded()
    assert [breaker.failed(now=0.0, number=FULL) for _ in range(2)] == [False, False]
    assert [breaker.failed(now=0.0) for _ in range(2)] == [False, True], "silence counts each time"


def test_what_is_about_one_message_neither_counts_nor_ends_a_row_of_failures() -> None:
    breaker = CircuitBreaker(failures=3, seconds=1.0)
    for opens in (False, False, True):
        assert not breaker.declined()
        assert breaker.failed(now=0.0) is opens
    breaker.submit_started()
    assert breaker.declined(), "the probe was answered: the operator is well"
    assert breaker.is_closed


def test_a_declined_message_leaves_the_pause_of_a_throttled_connection_as_it_is() -> None:
    async def scenario() -> None:
        operator = ScriptedOperator()
        connection = Connection(
            operator,
            Paces(),
            config=config_of_its_own().worker,
            submit=lambda _connection, _job: None,
            give_up=lambda _job: None,
            on_down=lambda _connection: None,
        )
        connection.declined()
        assert connection._blocked(time.monotonic()) == 0.0
        connection.throttled(20.0)
        connection.declined()
        assert connection._blocked(time.monotonic()) > 0.0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "concerns"),
    [
        ("timeout", "operator"),
        ("connection_lost", "operator"),
        ("unreachable", "operator"),
        ("http_302", "operator"),
        ("http_401", "operator"),
        ("http_503", "operator"),
        ("http_500", "unclear"),
        ("invalid_answer", "unclear"),
        ("internal_error", "unclear"),
    ],
)
def test_what_a_failed_submit_concerns(code: str, concerns: str) -> None:
    assert TransientSubmitError(code).concerns == concerns
    assert QueueFull(code).concerns == "message"


def test_a_later_part_of_a_long_message_that_finds_the_queue_full_opens_no_circuit() -> None:
    """Its tries end, for its first part would go out twice at each; the connection knows nothing of that."""
    config = config_of_its_own(retry_base=0.01, retry_cap=0.05, breaker_failures=1, max_retries=1)
    smsc = Smsc(0)
    parts = 0

    def submitted(received: Pdu) -> bytes | None:
        nonlocal parts
        if received.command != pdu.SUBMIT_SM:
            return None
        submit = smpp34.decode(received.raw)
        assert isinstance(submit, smpp34.SubmitSm)
        if bytes(submit.short_message)[:6][4:] == bytes((2, 2)):
            parts += 1
            return pdu.response(received, 0x14)
        return pdu.response(received, 0, "id")

    smsc._answer = submitted
    with smsc.running(part_tries=1) as settings, structlog.testing.capture_logs() as lines:
        changed = dataclasses.replace(settings, long_messages="udh")
        with RunningWorker(config, Smpp(NAME, changed)) as worker:  # type: ignore[arg-type]
            produce(config, [(0, sends(FULL, text="x" * 200, segments=2))])
            wait_until(lambda: parts == 2)
            wait_until(lambda: len(read_statuses(config)) == 1)
        assert worker.error is None
    assert not [line for line in lines if line["event"] == "circuit_opened"]
    assert [(event.status, event.error) for event in read_statuses(config)] == [("failed", "ESME_RMSGQFUL")]
