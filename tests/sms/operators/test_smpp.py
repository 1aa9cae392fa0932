"""An operator over SMPP: submits, their answers, receipts and long messages."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
import smpp34

from apps.sms.operators.base import InvalidReceipt, SubmitError, Throttled, TransientSubmitError
from apps.sms.operators.smpp import pdu, statuses
from apps.sms.operators.smpp.client import Smpp
from apps.sms.operators.smpp.pdu import Pdu
from tests.support.operators import AT_ONCE, message
from tests.support.smpp import NAME, SETTINGS, ScriptedSmsc, Sink, accepted, bound, count, hold, outcome, simulated

SLOW = msgspec.structs.replace(AT_ONCE, answer_delay=(3_600_000, 3_600_000))


LONG = "A text of more than 160 characters, so that it goes in parts. " * 5


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


@pytest.mark.parametrize("receipt_ids", ["as-is", "hex-then-decimal", "decimal-then-hex"])
def test_a_receipt_has_the_id_of_its_submit(receipt_ids: str) -> None:
    async def scenario() -> None:
        sink, sent = Sink(), message()
        async with simulated(receipt_ids=receipt_ids) as smsc, bound(smsc.settings, sink) as client:
            submission = await client.submit(sent)
            await hold(lambda: smsc.summary()["receipts_sent"] == 1)
            (record,) = smsc.memory.records(None)
        (receipt,) = sink.receipts
        assert receipt.operator_message_id == submission.operator_message_id
        assert (receipt.reference, receipt.status, receipt.error) == (None, "delivered", "")
        assert (record.recipient, record.sender, record.text) == (sent.to, sent.sender, sent.text)

    run(scenario())


@pytest.mark.parametrize(
    ("digits", "outcomes", "receipts"),
    [
        ("0001", ["accepted"], ["delivered"]),
        ("0002", ["accepted"], ["undelivered"]),
        ("0003", ["PermanentSubmitError ESME_RINVDSTADR"] * 2, []),
        ("0004", ["Throttled throttled", "accepted"], ["delivered"]),
        ("0005", ["TransientSubmitError ESME_RSYSERR"] * 2 + ["accepted"], ["delivered"]),
        ("0006", ["TransientSubmitError ESME_RSYSERR"] * 3, []),
        ("0007", ["accepted"], []),
        ("0008", ["accepted"], ["delivered"] * 2),
    ],
)
def test_magic_numbers(digits: str, outcomes: list[str], receipts: list[str]) -> None:
    async def scenario() -> None:
        sink, sent = Sink(), message("+98912555" + digits)
        async with simulated() as smsc, bound(smsc.settings, sink) as client:
            assert [await outcome(client, sent) for _ in outcomes] == outcomes
            await hold(lambda: smsc.summary()["receipts_pending"] == 0)
        assert [receipt.status for receipt in sink.receipts] == receipts

    run(scenario())


def test_a_receipt_may_come_before_the_answer() -> None:
    async def scenario() -> None:
        sink = Sink()
        async with simulated() as smsc, bound(smsc.settings, sink) as client:
            submission = await client.submit(message("+989125550009"))
            assert [receipt.operator_message_id for receipt in sink.receipts] == [submission.operator_message_id]

    run(scenario())


def test_a_submit_that_is_never_answered_ends_in_time() -> None:
    async def scenario() -> None:
        sent = message("+989125550010")
        async with simulated(timeout=0.5) as smsc, bound(smsc.settings) as client:
            assert await outcome(client, sent) == "TransientSubmitError timeout"
            await accepted(client, sent)
            assert next(record.outcome for record in smsc.memory.records(None)) == "unanswered"

    run(scenario())


def test_no_more_than_the_window_is_in_flight() -> None:
    async def scenario() -> None:
        async with simulated(SLOW, in_flight=2) as smsc, bound(smsc.settings) as client:
            submits = [asyncio.create_task(outcome(client, message())) for _ in range(5)]
            await hold(lambda: smsc.summary()["submits"] == 2)
            # Whatever the client had sent before it answers this would have come by then.
            assert await smsc.sessions[0].deliver(mobile_originated()) == statuses.OK
            assert smsc.summary()["submits"] == 2
            for submit in submits:
                submit.cancel()
            await asyncio.gather(*submits, return_exceptions=True)

    run(scenario())


def test_a_receipt_is_acknowledged_only_when_it_is_kept() -> None:
    async def scenario() -> None:
        sink = Sink()
        sink.open.clear()
        async with simulated() as smsc, bound(smsc.settings, sink) as client:
            await client.submit(message())
            await hold(lambda: sink.asked == 1)
            await client.submit(message("+989125550007"))  # its answer would come after an acknowledgement
            assert smsc.summary()["receipts_sent"] == 0
            sink.open.set()
            await hold(lambda: smsc.summary()["receipts_sent"] == 1)

    run(scenario())


def test_a_receipt_that_could_not_be_kept_comes_again() -> None:
    async def scenario() -> None:
        sink, before = Sink(failures=1), count("smpp_deliveries_total", kind="not_kept")
        async with simulated() as smsc, bound(smsc.settings, sink) as client:
            await client.submit(message())
            await hold(lambda: len(sink.receipts) == 1)
            await hold(lambda: smsc.summary()["receipts_sent"] == 1)
        assert count("smpp_deliveries_total", kind="not_kept") == before + 1

    run(scenario())


def mobile_originated() -> smpp34.DeliverSm:
    return smpp34.DeliverSm(source_addr="989121234567", destination_addr="98100", short_message=b"STOP")


@pytest.mark.parametrize(
    ("sent", "kind", "kept"),
    [
        (mobile_originated(), "message", (0, 0)),
        (smpp34.DeliverSm("1", "2", b"id:1 stat:ENROUTE", esm_class=4), "intermediate", (1, 0)),
        (smpp34.DeliverSm("1", "2", b"delivered", esm_class=4), "unreadable", (0, 1)),
    ],
)
def test_what_is_no_final_receipt_is_counted_kept_and_acknowledged(
    sent: smpp34.DeliverSm, kind: str, kept: tuple[int, int]
) -> None:
    async def scenario() -> None:
        sink, before = Sink(), count("smpp_deliveries_total", kind=kind)
        async with simulated() as smsc, bound(smsc.settings, sink):
            assert await smsc.sessions[0].deliver(sent) == statuses.OK
        assert count("smpp_deliveries_total", kind=kind) == before + 1
        assert (len(sink.receipts), len(sink.unread)) == kept

    run(scenario())


@pytest.mark.parametrize("long_messages", ["udh", "sar", "payload"])
@pytest.mark.parametrize(
    ("text", "coding"), [(LONG, "gsm7"), ("سلام، این پیام از هفتاد نویسه بلندتر است. " * 4, "ucs2")]
)
def test_a_long_message_arrives_whole(long_messages: str, text: str, coding: str) -> None:
    async def scenario() -> None:
        sink = Sink()
        async with simulated(long_messages=long_messages) as smsc, bound(smsc.settings, sink) as client:
            submission = await client.submit(message(text=text, encoding=coding))
            records = list(smsc.memory.records(None))
            await hold(lambda: smsc.summary()["receipts_pending"] == 0)
        assert "".join(record.text for record in records) == text
        given = [submission.operator_message_id, *submission.part_ids]
        assert given == [record.operator_message_id for record in records]
        assert len(given) == (1 if long_messages == "payload" else 3)
        assert sorted(receipt.operator_message_id for receipt in sink.receipts) == sorted(given)

    run(scenario())


def test_a_later_part_is_tried_again_without_the_ones_before() -> None:
    async def scenario() -> None:
        sent = message("+989125550004", text=LONG, encoding="gsm7")  # each part is throttled once
        async with simulated() as smsc, bound(smsc.settings) as client:
            with pytest.raises(Throttled):  # of the first part: nothing was taken, the worker tries the message again
                await client.submit(sent)
            await client.submit(sent)
            outcomes = [record.outcome for record in smsc.memory.records(None)]
        assert outcomes == ["throttled", "accepted"] * 3

    run(scenario())


def test_a_later_part_that_never_goes_counts_as_a_try_of_the_message() -> None:
    async def scenario() -> None:
        sent = message("+989125550004", text=LONG, encoding="gsm7")
        async with simulated(part_tries=1) as smsc, bound(smsc.settings) as client:
            assert await outcome(client, sent) == "Throttled throttled"
            # Not Throttled again: that would be tried without end, and the first part would go out each time.
            assert await outcome(client, sent) == "TransientSubmitError throttled"
            await accepted(client, sent)

    run(scenario())


def test_answers_are_matched_by_their_sequence_number_in_whatever_order_and_pieces_they_come() -> None:
    async def scenario() -> None:
        smsc = ScriptedSmsc()
        async with smsc.listening(in_flight=20) as settings, bound(settings) as client:
            sent = [message(text=f"{number}", encoding="gsm7") for number in range(20)]
            submits = [asyncio.create_task(client.submit(one)) for one in sent]
            await hold(lambda: len(smsc.of(pdu.SUBMIT_SM)) == 20)
            answers = b""
            for asked in reversed(smsc.of(pdu.SUBMIT_SM)):
                read = smpp34.decode(asked.raw)
                assert isinstance(read, smpp34.SubmitSm)
                answers += pdu.response(asked, 0, f"id-{read.short_message.decode()}")
            for start in range(0, len(answers), 7):
                smsc.writers[0].write(answers[start : start + 7])
                await smsc.writers[0].drain()
            found = await asyncio.gather(*submits)
        assert [one.operator_message_id for one in found] == [f"id-{number}" for number in range(20)]

    run(scenario())


def test_a_generic_nack_answers_a_submit_and_an_answer_without_an_id_is_still_one() -> None:
    def answer(received: Pdu) -> bytes | None:
        if received.command != pdu.SUBMIT_SM:
            return None
        if len(smsc.of(pdu.SUBMIT_SM)) == 1:
            return pdu.pack(pdu.GENERIC_NACK, received.sequence, status=statuses.INVALID_LENGTH)
        return pdu.pack(pdu.SUBMIT_SM | pdu.RESPONSE, received.sequence)

    smsc = ScriptedSmsc(answer)

    async def scenario() -> None:
        async with smsc.listening() as settings, bound(settings) as client:
            assert await outcome(client, message()) == "PermanentSubmitError ESME_RINVCMDLEN"
            assert (await client.submit(message())).operator_message_id == ""

    run(scenario())


def test_a_late_answer_is_counted() -> None:
    async def scenario() -> None:
        smsc, before = ScriptedSmsc(), count("smpp_late_answers_total")
        async with smsc.listening(timeout=0.3) as settings, bound(settings) as client:
            assert await outcome(client, message()) == "TransientSubmitError timeout"
            smsc.writers[-1].write(pdu.response(smsc.of(pdu.SUBMIT_SM)[0], 0, "late"))
            await hold(lambda: count("smpp_late_answers_total") == before + 1)

    run(scenario())


@pytest.mark.parametrize("sender", ["فروشگاه", "S" * 300])
def test_a_sender_that_smpp_cannot_carry_is_refused(sender: str) -> None:
    async def scenario() -> None:
        async with simulated() as smsc, bound(smsc.settings) as client:
            with pytest.raises(SubmitError) as caught:
                await client.submit(msgspec.structs.replace(message(), sender=sender))
            assert not isinstance(caught.value, TransientSubmitError)

    run(scenario())


def test_a_message_given_up_by_the_worker_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        async with simulated(SLOW, in_flight=1) as smsc, bound(smsc.settings) as client:
            submit = asyncio.create_task(client.submit(message()))
            await hold(lambda: smsc.summary()["submits"] == 1)
            submit.cancel()
            await asyncio.gather(submit, return_exceptions=True)
            smsc.behaviour = AT_ONCE
            await client.submit(message())  # the window's only place is free again

    run(scenario())


def test_receipts_over_http_are_none_of_its() -> None:
    with pytest.raises(InvalidReceipt):
        Smpp(NAME, SETTINGS).read_receipts({})
