"""The simulator, as the gateway's operators meet it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from apps.sms.events import DeliveryRequested
from apps.sms.operators.base import (
    Operator,
    PermanentSubmitError,
    SubmitError,
    Throttled,
    TransientSubmitError,
)
from smsgateway import ids
from tests.support.operators import (
    AT_ONCE,
    Receiver,
    control,
    message,
    operator,
    receipt_of,
    settled,
    simulating,
    summary,
    until,
)

BOTH = pytest.mark.parametrize("name", ["mci", "irancell"])


async def outcome(built: Operator, sent: DeliveryRequested) -> str:
    """`accepted`, or the kind of the error."""
    try:
        await built.submit(sent)
    except SubmitError as error:
        return type(error).__name__
    return "accepted"


@BOTH
def test_a_message_is_remembered_and_its_receipt_is_the_operators(name: str) -> None:
    async def scenario() -> None:
        sent, receiver = message(), Receiver()
        async with (
            receiver.listening() as receipts_url,
            simulating(receipts_url=receipts_url) as url,
            operator(name, url) as built,
        ):
            operator_id = (await built.submit(sent)).operator_message_id
            await settled(url, name)
            _, records = await control(url, f"messages?operator={name}&reference={sent.message_id}")
        (body,) = receiver.bodies
        receipt = receipt_of(built, body)
        assert (receipt.reference, receipt.operator_message_id) == (ids.from_text(sent.message_id), operator_id)
        assert (receipt.status, receipt.error) == ("delivered", "")
        assert receiver.authorizations == [f"Bearer {name}-receipt-token"]
        assert receiver.paths == [f"/v1/operators/{name}/receipts"]
        (record,) = records
        assert record.pop("at") > 1_700_000_000_000
        assert record == {
            "operator": name,
            "reference": sent.message_id,
            "operator_message_id": operator_id,
            "recipient": sent.to,
            "sender": sent.sender,
            "text": sent.text,
            "outcome": "accepted",
            "try": 1,
        }

    asyncio.run(scenario())


@BOTH
@pytest.mark.parametrize(
    ("digits", "outcomes", "statuses"),
    [
        ("0001", ["accepted"], ["delivered"]),
        ("0002", ["accepted"], ["undelivered"]),
        ("0003", ["PermanentSubmitError"] * 2, []),
        ("0004", ["Throttled", "accepted"], ["delivered"]),
        ("0005", ["TransientSubmitError", "TransientSubmitError", "accepted"], ["delivered"]),
        ("0006", ["TransientSubmitError"] * 4, []),
        ("0007", ["accepted"], []),
        ("0008", ["accepted"], ["delivered", "delivered"]),
        ("0009", ["accepted"], ["delivered"]),
        ("0011", ["TransientSubmitError", "accepted"], ["delivered", "delivered"]),
    ],
)
def test_magic_numbers(name: str, digits: str, outcomes: list[str], statuses: list[str]) -> None:
    async def scenario() -> None:
        sent, receiver = message("+98912555" + digits), Receiver()
        async with (
            receiver.listening() as receipts_url,
            simulating(receipts_url=receipts_url) as url,
            operator(name, url) as built,
        ):
            assert [await outcome(built, sent) for _ in outcomes] == outcomes
            await settled(url, name)
        assert [receipt_of(built, body).status for body in receiver.bodies] == statuses

    asyncio.run(scenario())


@BOTH
def test_a_magic_message_is_taken_and_never_answered(name: str) -> None:
    async def scenario() -> None:
        sent = message("+989125550010")
        async with simulating() as url, operator(name, url, timeout=0.5) as built:
            with pytest.raises(TransientSubmitError) as caught:
                await built.submit(sent)
            assert caught.value.code == "timeout"
            counts = await summary(url, name)
            assert (counts["accepted"], counts["unanswered"]) == (1, 1)

    asyncio.run(scenario())


def test_magic_numbers_can_be_turned_off() -> None:
    async def scenario() -> None:
        async with simulating(magic_numbers=False) as url, operator("mci", url) as built:
            assert await outcome(built, message("+989125550003")) == "accepted"

    asyncio.run(scenario())


def test_a_magic_throttle_says_how_long_to_wait() -> None:
    async def scenario() -> None:
        async with simulating() as url, operator("mci", url) as built:
            with pytest.raises(Throttled) as caught:
                await built.submit(message("+989125550004"))
            assert caught.value.retry_after == 1.0

    asyncio.run(scenario())


def test_some_operator_ids_begin_with_zero_and_no_two_are_the_same() -> None:
    async def scenario() -> list[str]:
        async with simulating() as url, operator("mci", url) as built:
            return [(await built.submit(message())).operator_message_id for _ in range(50)]

    found = asyncio.run(scenario())
    assert any(operator_id.startswith("0") for operator_id in found)
    assert len(set(found)) == 50


MIXED = msgspec.structs.replace(AT_ONCE, transient_rate=0.3, rejection_rate=0.2, hang_rate=0.2)


async def outcomes_of(sent: list[DeliveryRequested], *, seed: int, workers: int) -> list[str]:
    async with simulating(behaviour=MIXED, seed=seed) as url, operator("irancell", url) as built:
        limit = asyncio.Semaphore(workers)

        async def one(one_message: DeliveryRequested) -> str:
            async with limit:
                return await outcome(built, one_message)

        return list(await asyncio.gather(*map(one, sent)))


def test_the_same_seed_treats_the_same_messages_alike_in_whatever_order_they_come() -> None:
    async def scenario() -> None:
        sent = [message() for _ in range(60)]
        one_by_one = await outcomes_of(sent, seed=1, workers=1)
        assert await outcomes_of(sent, seed=1, workers=16) == one_by_one
        assert await outcomes_of(sent, seed=2, workers=16) != one_by_one
        assert set(one_by_one) == {"accepted", "TransientSubmitError", "PermanentSubmitError"}

    asyncio.run(scenario())


def test_retries_come_through_a_transient_rate() -> None:
    async def scenario() -> None:
        behaviour = msgspec.structs.replace(AT_ONCE, transient_rate=0.7)
        async with simulating(behaviour=behaviour) as url, operator("mci", url) as built:
            for _ in range(5):
                sent = message()

                async def accepted(sent: DeliveryRequested = sent) -> bool:
                    return await outcome(built, sent) == "accepted"

                await until(accepted)
            counts = await summary(url, "mci")
        assert counts["accepted"] == counts["distinct_references_accepted"] == 5
        assert counts["transient"] == counts["submits"] - 5 > 0

    asyncio.run(scenario())


def test_a_hung_submit_was_taken_and_a_retry_is_counted_as_a_duplicate() -> None:
    async def scenario() -> None:
        sent, receiver = message(), Receiver()
        async with (
            receiver.listening() as receipts_url,
            simulating(receipts_url=receipts_url) as url,
            operator("mci", url) as built,
        ):
            await control(url, "behaviour", {"hang_rate": 1})
            with pytest.raises(TransientSubmitError) as caught:
                await built.submit(sent)
            assert caught.value.code == "connection_lost"
            await control(url, "behaviour", {"hang_rate": 0})
            await built.submit(sent)
            await built.submit(sent)
            await settled(url, "mci")
            counts = await summary(url, "mci")
        assert len({receipt_of(built, body).operator_message_id for body in receiver.bodies}) == 3
        assert counts == {
            "submits": 3,
            "accepted": 3,
            "distinct_references_accepted": 1,
            "duplicates": 1,
            "hung": 1,
            "unanswered": 0,
            "rejected": 0,
            "transient": 0,
            "throttled": 0,
            "receipts_sent": 3,
            "receipts_pending": 0,
            "receipts_given_up": 0,
        }

    asyncio.run(scenario())


def test_a_pace_that_is_too_high_is_throttled() -> None:
    async def scenario() -> None:
        behaviour = msgspec.structs.replace(AT_ONCE, max_per_second=1)
        async with simulating(behaviour=behaviour) as url, operator("irancell", url) as built:
            assert await outcome(built, message()) == "accepted"

            async def throttled() -> bool:
                return await outcome(built, message()) == "Throttled"

            await until(throttled)

            async def accepted() -> bool:
                return await outcome(built, message()) == "accepted"

            await until(accepted)

    asyncio.run(scenario())


def test_behaviour_changes_for_one_operator_alone() -> None:
    async def scenario() -> None:
        async with simulating() as url, operator("mci", url) as mci, operator("irancell", url) as irancell:
            status, answer = await control(url, "behaviour", {"operator": "irancell", "rejection_rate": 1})
            assert status == 200
            assert (answer["mci"]["rejection_rate"], answer["irancell"]["rejection_rate"]) == (0, 1)
            assert await outcome(mci, message()) == "accepted"
            with pytest.raises(PermanentSubmitError):
                await irancell.submit(message())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "changes",
    [
        {"rejection_rate": 1.5},
        {"rejection_rate": "1"},
        {"answer_delay": [5, 1]},
        {"answer_delay": 5},
        {"typo_rate": 1},
        {"operator": "rightel"},
        {"operator": []},
        [],
    ],
)
def test_a_wrong_behaviour_is_refused_and_changes_nothing(changes: Any) -> None:
    async def scenario() -> None:
        async with simulating() as url:
            before = await control(url, "behaviour", {})
            status, answer = await control(url, "behaviour", changes)
            assert status == 400
            assert answer["error"]
            assert await control(url, "behaviour", {}) == before

    asyncio.run(scenario())


@BOTH
def test_a_wrong_token_is_refused_and_nothing_is_remembered(name: str) -> None:
    async def scenario() -> None:
        async with simulating() as url, operator(name, url, token="stolen") as built:
            with pytest.raises(TransientSubmitError) as caught:
                await built.submit(message())
            assert caught.value.code == "http_401"
            assert (await summary(url, name))["submits"] == 0

    asyncio.run(scenario())


def test_a_message_that_the_operator_cannot_read_is_refused_and_not_remembered() -> None:
    async def scenario() -> None:
        async with simulating() as url, operator("mci", url) as built:
            with pytest.raises(PermanentSubmitError) as caught:
                await built.submit(message(encoding="latin1"))
            assert caught.value.code == "malformed"
            assert (await summary(url, "mci"))["submits"] == 0

    asyncio.run(scenario())


def test_messages_can_be_listed_by_operator() -> None:
    async def scenario() -> None:
        async with simulating() as url, operator("mci", url) as mci, operator("irancell", url) as irancell:
            await mci.submit(message())
            await irancell.submit(message())
            _, everything = await control(url, "messages")
            _, some = await control(url, "messages?operator=irancell")
            status, _ = await control(url, "messages?operator=rightel")
        assert [record["operator"] for record in everything] == ["mci", "irancell"]
        assert [record["operator"] for record in some] == ["irancell"]
        assert status == 400

    asyncio.run(scenario())
