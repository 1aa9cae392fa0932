"""The gateway's SMPP client against an SMSC of a foreign library."""

from __future__ import annotations

import asyncio
import dataclasses
import os

import pytest

from apps.sms.operators.smpp.client import Smpp
from smsgateway import config
from tests.support import jsmpp_server
from tests.support.jsmpp_server import JsmppServer
from tests.support.operators import message
from tests.support.smpp import SETTINGS, Sink, accepted, bound, connected, count, hold, outcome

pytestmark = [pytest.mark.foreign_smpp, pytest.mark.timeout(jsmpp_server.DOWNLOAD_SECONDS + 200)]


@pytest.fixture(scope="module", autouse=True)
def _can_run() -> None:
    if reason := jsmpp_server.unavailable():
        if os.environ.get("REQUIRE_FOREIGN_SMPP"):
            pytest.fail(reason)
        pytest.skip(reason)


def settings_of(server: JsmppServer, **changes: str) -> config.SmppOperator:
    # It answers submits with hexadecimal ids and writes receipts with decimal ones.
    return dataclasses.replace(SETTINGS, port=server.port, receipt_ids="hex-then-decimal", **changes)


def test_bind_submit_receipt_and_a_message_from_a_phone() -> None:
    async def scenario() -> None:
        sink, messages = Sink(), count("smpp_deliveries_total", kind="message")
        async with jsmpp_server.jsmpp_server() as server, bound(settings_of(server), sink) as client:
            submission = await client.submit(message(text="Hello [world] €", encoding="gsm7"))
            await hold(lambda: len(sink.receipts) == 1)
            # It greets who binds.
            await hold(lambda: count("smpp_deliveries_total", kind="message") == messages + 1)
        (receipt,) = sink.receipts
        assert receipt.operator_message_id == submission.operator_message_id != ""
        assert (receipt.status, receipt.error) == ("delivered", "")

    asyncio.run(scenario())


@pytest.mark.parametrize("long_messages", ["udh", "sar", "payload"])
def test_every_part_of_a_long_message_has_its_receipt(long_messages: str) -> None:
    async def scenario() -> None:
        sink = Sink()
        server_settings = {"long_messages": long_messages, "user_reference": "on"}
        async with jsmpp_server.jsmpp_server() as server, bound(settings_of(server, **server_settings), sink) as client:
            submission = await client.submit(message(text="سلام " * 40, encoding="ucs2"))
            given = {submission.operator_message_id, *submission.part_ids}
            assert len(given) == (1 if long_messages == "payload" else 3)
            await hold(lambda: {receipt.operator_message_id for receipt in sink.receipts} == given)

    asyncio.run(scenario())


def test_throttling_is_told() -> None:
    async def scenario() -> None:
        sent = message("+989125550004")
        async with jsmpp_server.jsmpp_server() as server, bound(settings_of(server)) as client:
            assert await outcome(client, sent) == "Throttled throttled"
            assert await outcome(client, sent) == "accepted"

    asyncio.run(scenario())


def test_an_unbind_with_a_submit_in_flight_fails_it_and_is_followed_by_a_bind() -> None:
    async def scenario() -> None:
        sent, before = message("+989125550099"), count("smpp_disconnects_total", reason="unbound_by_peer")
        async with jsmpp_server.jsmpp_server() as server, bound(settings_of(server)) as client:
            assert await outcome(client, sent) == "TransientSubmitError connection_lost"
            assert (await accepted(client, sent)).operator_message_id
        assert count("smpp_disconnects_total", reason="unbound_by_peer") == before + 1

    asyncio.run(scenario())


def test_a_server_that_dies_is_bound_again_when_it_is_back() -> None:
    async def scenario() -> None:
        async with jsmpp_server.jsmpp_server() as server, bound(settings_of(server)) as client:
            await client.submit(message())
            await server.kill()
            await connected(client, False)
            await server.start()
            await connected(client)
            await client.submit(message())

    asyncio.run(scenario())


def test_a_wrong_password_is_refused() -> None:
    async def scenario() -> None:
        before = count("smpp_binds_total", outcome="credentials")
        async with jsmpp_server.jsmpp_server() as server:
            client = Smpp("shatel", settings_of(server, password="stolen"))
            await client.start(Sink())
            await hold(lambda: count("smpp_binds_total", outcome="credentials") > before)
            assert not client.is_connected
            await client.close()

    asyncio.run(scenario())
