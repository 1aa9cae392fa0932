"""The gateway's SMPP client against an SMSC made with node's library `smpp`."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from typing import Any

import msgspec
import pytest

from apps.sms.operators.smpp.client import Smpp
from smsgateway import config
from tests.support import node_smsc
from tests.support.operators import message
from tests.support.smpp import SETTINGS, Sink, accepted, bound, count, hold, outcome

pytestmark = [pytest.mark.foreign_smpp, pytest.mark.timeout(node_smsc.DOWNLOAD_SECONDS + 200)]


@pytest.fixture(scope="module", autouse=True)
def _can_run() -> None:
    if reason := node_smsc.unavailable():
        if os.environ.get("REQUIRE_FOREIGN_SMPP"):
            pytest.fail(reason)
        pytest.skip(reason)


def settings_of(port: int, **changes: Any) -> config.SmppOperator:
    # It answers with hexadecimal ids, and writes decimal ones of ten places into the text of receipts.
    return dataclasses.replace(SETTINGS, port=port, **({"receipt_ids": "hex-then-decimal"} | changes))


@pytest.mark.parametrize("changes", [{}, {"receipt_ids": "as-is"}, {"receipt_source": "text"}])
@pytest.mark.parametrize("number", ["+989125550100", "+989125550008"])
def test_a_receipt_names_the_message_of_the_submit(changes: dict[str, str], number: str) -> None:
    async def scenario() -> None:
        sink = Sink()
        async with node_smsc.node_smsc() as port, bound(settings_of(port, **changes), sink) as client:
            submission = await client.submit(message(number))
            await hold(lambda: bool(sink.receipts or sink.unread))
        (receipt,) = sink.receipts
        assert receipt.operator_message_id == submission.operator_message_id != ""
        assert receipt.status == "delivered"

    asyncio.run(scenario())


def test_a_receipt_in_a_data_sm_with_parameters_alone() -> None:
    async def scenario() -> None:
        sink = Sink()
        settings = {"tlv_ids": "hexadecimal"}
        async with node_smsc.node_smsc() as port, bound(settings_of(port, **settings), sink) as client:
            submission = await client.submit(message("+989125550103"))
            await hold(lambda: bool(sink.receipts or sink.unread))
        assert [receipt.operator_message_id for receipt in sink.receipts] == [submission.operator_message_id]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "changes",
    [
        {"long_messages": "udh"},
        {"long_messages": "udh", "reference_bits": "16", "reference": "counter"},
        {"long_messages": "sar"},
        {"long_messages": "payload"},
        {"alphabet": "latin-1", "data_coding": 3},
    ],
)
def test_every_part_of_a_long_message_has_its_receipt(changes: dict[str, Any]) -> None:
    async def scenario() -> None:
        sink = Sink()
        async with node_smsc.node_smsc() as port, bound(settings_of(port, **changes), sink) as client:
            submission = await client.submit(message(text="Hello world " * 30, encoding="gsm7"))
            given = {submission.operator_message_id, *submission.part_ids}
            assert len(given) == (1 if changes.get("long_messages") == "payload" else 3)
            await hold(lambda: {receipt.operator_message_id for receipt in sink.receipts} == given)

    asyncio.run(scenario())


def test_throttling_a_full_queue_and_an_unbind() -> None:
    async def scenario() -> None:
        async with node_smsc.node_smsc() as port, bound(settings_of(port)) as client:
            throttled, full, unbound = (message(f"+98912555{ending}") for ending in ("0004", "0014", "0099"))
            assert await outcome(client, throttled) == "Throttled throttled"
            assert await outcome(client, throttled) == "accepted"
            assert await outcome(client, full) == "QueueFull ESME_RMSGQFUL"
            assert await outcome(client, full) == "accepted"
            assert await outcome(client, unbound) == "TransientSubmitError connection_lost"
            assert (await accepted(client, unbound)).operator_message_id

    asyncio.run(scenario())


def test_a_long_validity_is_shortened_to_what_the_operator_takes() -> None:
    async def scenario() -> None:
        sent = msgspec.structs.replace(message("+989125550015"), expires_at=(int(time.time()) + 7 * 86_400) * 1000)
        async with node_smsc.node_smsc() as port:
            async with bound(settings_of(port)) as client:
                assert await outcome(client, sent) == "PermanentSubmitError ESME_RINVEXPIRY"
            async with bound(settings_of(port, longest_validity=72 * 3600)) as client:
                assert await outcome(client, sent) == "accepted"

    asyncio.run(scenario())


def test_wrong_credentials() -> None:
    async def scenario() -> None:
        before = count("smpp_binds_total", outcome="credentials")
        async with node_smsc.node_smsc() as port:
            client = Smpp("shatel", settings_of(port, password="stolen"))
            await client.start(Sink())
            await hold(lambda: count("smpp_binds_total", outcome="credentials") > before)
            assert not client.is_connected
            await client.close()

    asyncio.run(scenario())
