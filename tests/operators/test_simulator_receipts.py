"""The simulator's receipts, as the gateway gets them."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from apps.sms.simulator.behaviour import Behaviour
from tests.operators.harness import Receiver, control, message, operator, settled, simulating, summary

BOTH = pytest.mark.parametrize("name", ["mci", "irancell"])


@BOTH
def test_a_magic_receipt_comes_before_the_answer(name: str) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with (
            receiver.listening() as receipts_url,
            simulating(receipts_url=receipts_url) as url,
            operator(name, url) as built,
        ):
            await built.submit(message("+989125550009"))
            assert len(receiver.bodies) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("behaviour", "statuses"),
    [
        (Behaviour(receipt_delay=(0, 5), undelivered_rate=1), {"undelivered": 3}),
        (Behaviour(receipt_delay=(0, 5), duplicate_receipt_rate=1), {"delivered": 6}),
        (Behaviour(receipt_delay=(0, 5), no_receipt_rate=1), {}),
    ],
)
def test_receipts_follow_the_behaviour(behaviour: Behaviour, statuses: dict[str, int]) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with (
            receiver.listening() as receipts_url,
            simulating(behaviour=behaviour, receipts_url=receipts_url) as url,
            operator("irancell", url) as built,
        ):
            for _ in range(3):
                await built.submit(message())
            await settled(url, "irancell")
        assert Counter(built.parse_receipt(body).status for body in receiver.bodies) == statuses

    asyncio.run(scenario())


def test_a_receipt_is_sent_until_the_gateway_takes_it() -> None:
    async def scenario() -> None:
        receiver = Receiver(503, 401)
        async with (
            receiver.listening() as receipts_url,
            simulating(receipts_url=receipts_url) as url,
            operator("mci", url) as built,
        ):
            await built.submit(message())
            await settled(url, "mci")
            counts = await summary(url, "mci")
        assert len(receiver.bodies) == 3
        assert len(set(receiver.bodies)) == 1
        assert (counts["receipts_sent"], counts["receipts_given_up"]) == (1, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [404, 410])
def test_a_receipt_of_a_message_that_the_gateway_does_not_know_is_given_up(status: int) -> None:
    async def scenario() -> None:
        receiver = Receiver(status)
        async with (
            receiver.listening() as receipts_url,
            simulating(receipts_url=receipts_url) as url,
            operator("mci", url) as built,
        ):
            await built.submit(message())
            await settled(url, "mci")
            counts = await summary(url, "mci")
        assert len(receiver.bodies) == 1
        assert (counts["receipts_sent"], counts["receipts_given_up"]) == (0, 1)

    asyncio.run(scenario())


def test_receipts_that_nobody_takes_stay_pending_until_the_reset_forgets_everything() -> None:
    async def scenario() -> None:
        async with simulating() as url, operator("mci", url) as built:
            await control(url, "behaviour", {"undelivered_rate": 1})
            await built.submit(message())
            assert (await summary(url, "mci"))["receipts_pending"] == 1
            assert await control(url, "reset", {}) == (204, None)
            assert set((await summary(url, "mci")).values()) == {0}
            assert await control(url, "messages") == (200, [])
            _, behaviour = await control(url, "behaviour", {})
            assert behaviour["mci"]["undelivered_rate"] == 0

    asyncio.run(scenario())
