"""The delivery worker with an operator over SMPP: its submits and receipts are published to Kafka."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apps.sms import events
from apps.sms.operators.smpp.client import Smpp
from apps.sms.simulator.smpp import SmppOperator
from tests.support.delivery import (
    RunningWorker,
    config_of_its_own,
    produce,
    read_all,
    read_statuses,
    requested,
    wait_until,
)
from tests.support.smpp import NAME, simulated

LONG = "A text of more than 160 characters, so that it goes in parts. " * 5


@contextmanager
def smsc(**settings: Any) -> Iterator[SmppOperator]:
    """A simulated SMSC in a loop and thread of its own."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    found: list[SmppOperator] = []
    stop = asyncio.Event()

    async def serve() -> None:
        async with simulated(**settings) as operator:
            found.append(operator)
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


def test_messages_go_out_and_their_receipts_are_kept() -> None:
    config = config_of_its_own()
    messages = [requested(operator=NAME, to=f"+9891255{number:05d}") for number in range(100, 150)]
    throttled, refused = requested(operator=NAME, to="+989125550004"), requested(operator=NAME, to="+989125550003")
    long = requested(operator=NAME, text=LONG, segments=3)
    produce(config, [(0, event) for event in [*messages, throttled, refused, long]])
    with smsc() as centre:
        with RunningWorker(config, Smpp(NAME, dataclasses.replace(centre.settings, in_flight=5))) as worker:  # type: ignore[arg-type]
            wait_until(lambda: centre.summary()["receipts_sent"] == 54)
            wait_until(lambda: len(read_statuses(config)) == 53)
        assert worker.error is None
        wait_until(lambda: not centre.sessions)
    ended = {event.message_id: event for event in read_statuses(config)}
    assert (ended[refused.message_id].status, ended[refused.message_id].error) == ("rejected", "ESME_RINVDSTADR")
    assert len(ended[long.message_id].part_ids) == 2
    submitted = [event for event in ended.values() if event.status == "submitted"]
    assert len(submitted) == 52
    given = {one for event in submitted for one in (event.operator_message_id, *event.part_ids)}
    receipts = [events.decode_receipt(one.value() or b"") for one in read_all(config, config.kafka.topic_receipts)]
    assert {receipt.operator_message_id for receipt in receipts} == given
    assert {(receipt.operator, receipt.reference, receipt.status) for receipt in receipts} == {(NAME, "", "delivered")}
