"""The simulator's receipts, as the gateway gets them."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from apps.sms.simulator.behaviour import Behaviour
from tests.support.operators import Receiver, control, message, operator, receipt_of, settled, simulating, summary

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
        assert Counter(receipt_of(built, body).status for body in receiver.bodies) == statuses

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answers", "tries", "sent", "given_up"),
    [
        pytest.param((503, 401), 3, 1, 0, id="until the gateway takes it"),
        pytest.param((404,), 1, 0, 1, id="until the gateway says that it does not know the message"),
        pytest.param((410,), 1, 0, 1, id="until the gateway says that the message is archived"),
    ],
)
def test_a_receipt_is_sent(answers: tuple[int, ...], tries: int, sent: int, given_up: int) -> None:
    async def scenario() -> None:
        receiver = Receiver(*answers)
        async with (
            receiver.listening() as receipts_url,
            simulating(receipts_url=receipts_url) as url,
            operator("mci", url) as built,
        ):
            await built.submit(message())
            await settled(url, "mci")
            counts = await summary(url, "mci")
        assert len(receiver.bodies) == tries
        assert len(set(receiver.bodies)) == 1
        assert (counts["receipts_sent"], counts["receipts_given_up"]) == (sent, given_up)

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
