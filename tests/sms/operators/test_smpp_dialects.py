"""Submits in operators' dialects: alphabets, references, validity, addresses, parameters; and their deliveries."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import itertools
import re
import time
from typing import Any

import msgspec
import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st

from apps.sms import encoding
from apps.sms.events import DeliveryRequested
from apps.sms.operators.base import PermanentSubmitError
from apps.sms.operators.smpp import gsm7, pdu, statuses
from apps.sms.operators.smpp.parts import Dialect, Submits
from smsgateway import config
from tests.support.operators import message
from tests.support.smpp import NAME, SETTINGS, ScriptedSmsc, Sink, bound, count, hold
from tests.support.smpp_receipts import data_pdu, deliver_pdu

PLAIN: dict[str, Any] = {"user_reference": "off"}


def packed(sent: DeliveryRequested, dialect: Dialect | None = None, **changes: Any) -> list[smpp34.SubmitSm]:
    """The message's PDUs, as the library reads them."""
    submits = Submits(sent, dialect or Dialect(dataclasses.replace(SETTINGS, **(PLAIN | changes))))
    read = [smpp34.decode(submits.pack(number, 1)) for number in range(len(submits))]
    assert all(isinstance(one, smpp34.SubmitSm) for one in read)
    return read  # type: ignore[return-value]


# Alphabets


def test_latin_1_is_sent_as_latin_1() -> None:
    (one,) = packed(message(text="Café @ [x]", encoding="gsm7"), alphabet="latin-1", data_coding=3)
    assert (one.data_coding, one.short_message) == (3, "Café @ [x]".encode("latin-1"))


@pytest.mark.parametrize(("alphabet", "text"), [("ascii", "Café"), ("latin-1", "5 €"), ("latin-1", "ΔΩ")])
def test_a_text_that_the_alphabet_lacks_is_sent_as_ucs2(alphabet: str, text: str) -> None:
    (one,) = packed(message(text=text, encoding="gsm7"), alphabet=alphabet)
    assert (one.data_coding, one.short_message) == (8, text.encode("utf-16-be"))


@pytest.mark.parametrize("text", ["a" * 160, "Hello [world] €", "@" * 7, "1234567", "12345678", ""])
def test_packed_septets_of_one_part(text: str) -> None:
    (one,) = packed(message(text=text or "x", encoding="gsm7"), alphabet="gsm-packed")
    assert one.data_coding == 0
    assert len(one.short_message) <= 140
    assert gsm7.decode(gsm7.unpack(one.short_message)).rstrip("\r").rstrip("@") == (text or "x").rstrip("@")


def test_packed_septets_are_those_of_the_standard() -> None:
    assert gsm7.pack(b"hellohello").hex() == "e8329bfd4697d9ec37"  # 3GPP TS 23.038, the usual example
    assert gsm7.pack(b"1234567").hex() == "31d98c56b3dd1a"  # 7 bits are left: a carriage return


@given(st.text(alphabet="abcXYZ €[]@\n", min_size=161, max_size=700), st.sampled_from([8, 16]))
def test_packed_parts_begin_after_their_header_at_a_septet(text: str, bits: int) -> None:
    read = packed(message(text=text, encoding="gsm7"), alphabet="gsm-packed", reference_bits=str(bits))
    found = ""
    for one in read:
        header = one.short_message[0] + 1
        assert len(one.short_message) <= 140
        septets = gsm7.unpack(one.short_message[header:], fill=-8 * header % 7)
        found += gsm7.decode(septets).rstrip("\r") if septets.endswith(b"\r") else gsm7.decode(septets)
    # A lone @ or carriage return at a part's end may be padding: compare without them.
    assert re.sub(r"[@\r]", "", found) == re.sub(r"[@\r]", "", text)


@pytest.mark.parametrize("alphabet", ["gsm", "gsm-packed", "latin-1", "ascii"])
def test_no_alphabet_makes_more_parts_than_are_charged(alphabet: str) -> None:
    text = "Hello [world] " * 40
    charged = encoding.encode(text, "gsm7").segments
    assert len(packed(message(text=text, encoding="gsm7"), alphabet=alphabet)) == charged


# References


def test_a_counter_numbers_messages_one_after_the_other_and_keeps_a_messages_number() -> None:
    dialect = Dialect(dataclasses.replace(SETTINGS, reference="counter", reference_bits="16", **PLAIN))
    long = [message(text="x" * 300, encoding="gsm7") for _ in range(3)]
    found = [packed(one, dialect) for one in long]
    references = [{read.short_message[3:5] for read in parts} for parts in found]
    assert [len(reference) for reference in references] == [1, 1, 1]
    first, second, third = (int.from_bytes(next(iter(reference))) for reference in references)
    assert ((second - first) & 0xFFFF, (third - second) & 0xFFFF) == (1, 1)
    assert packed(long[0], dialect)[0].short_message[:7] == found[0][0].short_message[:7]


def test_a_reference_of_16_bits_has_the_header_of_the_standard() -> None:
    read = packed(message(text="x" * 300, encoding="gsm7"), reference_bits="16")
    assert [one.short_message[:3] + one.short_message[5:7] for one in read] == [
        bytes((6, 8, 4, 2, 1)),
        bytes((6, 8, 4, 2, 2)),
    ]


@pytest.mark.parametrize(("text", "coding"), [("x" * 306, "gsm7"), ("س" * 134, "ucs2")])
def test_a_reference_of_16_bits_that_would_need_one_more_part_is_of_8(text: str, coding: str) -> None:
    read = packed(message(text=text, encoding=coding), reference_bits="16")
    assert [one.short_message[:3] for one in read] == [bytes((5, 0, 3))] * 2


# Validity


def test_the_validity_is_at_most_the_operators_longest() -> None:
    now = int(time.time())
    sent = msgspec.structs.replace(message(), expires_at=(now + 7 * 86_400) * 1000)
    (one,) = packed(sent, longest_validity=72 * 3600)
    assert one.validity_period == "000003000000000R"
    (one,) = packed(sent, longest_validity=72 * 3600, validity_form="absolute")
    until = dt.datetime.strptime(one.validity_period, "%y%m%d%H%M%S000+").replace(tzinfo=dt.UTC).timestamp()
    assert now + 72 * 3600 <= until <= time.time() + 72 * 3600


def test_a_shorter_validity_stays() -> None:
    sent = msgspec.structs.replace(message(), expires_at=(int(time.time()) + 61) * 1000)
    (one,) = packed(sent, longest_validity=72 * 3600)
    assert one.validity_period in ("000000000101000R", "000000000100000R")


# Addresses


@pytest.mark.parametrize(
    ("sender", "kind"),
    [
        ("12345", (3, 0)),
        ("98100", (6, 9)),
        ("989121234567", (1, 1)),
        ("0912", (2, 1)),
        ("Shop", (5, 0)),
        ("BANK", (0, 8)),
    ],
)
def test_types_of_numbers_by_pattern(sender: str, kind: tuple[int, int]) -> None:
    sent = msgspec.structs.replace(message(), sender=sender)
    (one,) = packed(sent, sender_types=["98100=6/9", "98*=1/1", "0*=2/1", "B?NK=0/8"], short_ton=3, short_npi=0)
    assert (one.source_addr_ton, one.source_addr_npi) == kind


def test_types_of_recipients_by_pattern() -> None:
    (one,) = packed(message("+989121234567"), recipient_types=["98912*=2/8", "*=1/1"])
    assert (one.dest_addr_ton, one.dest_addr_npi) == (2, 8)
    (one,) = packed(message("+14155550123"), recipient_types=["98912*=2/8"], recipient_ton=0, recipient_npi=3)
    assert (one.dest_addr_ton, one.dest_addr_npi) == (0, 3)


# Parameters


def test_parameters_of_the_operator_and_of_the_message() -> None:
    sent = msgspec.structs.replace(message(), sender="Shop", metadata={"template_id": "1107165409153095415"})
    (one,) = packed(
        sent,
        tlvs=[
            "0x1400=1101513340000012345",
            "0x1401:cstring={metadata.template_id}",
            "0x1402={metadata.missing}",
            "0x1500:int2=258",
            "0x1501:hex=00ff",
            "0x1502={sender}-{recipient_digits}",
        ],
    )
    assert {tlv.tag: bytes(tlv.value) for tlv in one.tlvs} == {
        0x1400: b"1101513340000012345",
        0x1401: b"1107165409153095415\0",
        0x1500: b"\1\2",
        0x1501: b"\0\xff",
        0x1502: b"Shop-" + sent.to.removeprefix("+").encode(),
    }


@pytest.mark.parametrize("metadata", [{"n": "300"}, {"n": "x"}, {"n": "-1"}])
def test_a_parameter_that_cannot_be_sent_refuses_the_message(metadata: dict[str, str]) -> None:
    sent = msgspec.structs.replace(message(), metadata=metadata)

    async def scenario() -> None:
        async with ScriptedSmsc().listening(tlvs=["0x1500:int1={metadata.n}"]) as settings, bound(settings) as client:
            with pytest.raises(PermanentSubmitError, match="not_encodable"):
                await client.submit(sent)

    asyncio.run(scenario())


# Settings that do not fit


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"TLVS": "1400=5"}, "OPERATOR_SHATEL_TLVS is wrong: '1400=5' is not TAG=VALUE"),
        ({"TLVS": "0x1400:int1=256"}, "OPERATOR_SHATEL_TLVS is wrong: '256' does not fit int1."),
        ({"TLVS": "0x1400={nothing}"}, "{nothing} is not a placeholder"),
        ({"SENDER_TYPES": "98*=9/1"}, "OPERATOR_SHATEL_SENDER_TYPES does not have the required form."),
        ({"RECEIPT_IDS": "octal"}, "OPERATOR_SHATEL_RECEIPT_IDS is 'octal', not one of"),
        ({"INTERFACE_VERSION": "3.3", "LONG_MESSAGES": "sar"}, "INTERFACE_VERSION 3.3 has no parameters"),
        ({"INTERFACE_VERSION": "3.3", "TLVS": "0x1400=5"}, "INTERFACE_VERSION 3.3 has no parameters"),
        ({"RECEIPT_STATUSES": "WHO=maybe"}, "OPERATOR_SHATEL_RECEIPT_STATUSES does not have the required form."),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_one_line(settings: dict[str, str], complaint: str) -> None:
    given = {"HOST": "h", "SYSTEM_ID": "s", "PASSWORD": "p"} | settings
    _, problems = config.load(
        {"OPERATORS_SMPP": NAME} | {f"OPERATOR_SHATEL_{key}": value for key, value in given.items()}
    )
    (problem,) = [str(problem) for problem in problems if "SHATEL" in str(problem)]
    assert complaint in problem


# Deliveries


def deliveries(*raw: bytes, **changes: Any) -> tuple[Sink, list[pdu.Pdu]]:
    """What the gateway keeps of these PDUs, and how it answers them."""
    sink = Sink()

    async def scenario() -> list[pdu.Pdu]:
        smsc = ScriptedSmsc()
        async with smsc.listening(**changes) as settings, bound(settings, sink):
            for number, one in enumerate(raw):
                smsc.writers[0].write(one[:12] + (100 + number).to_bytes(4) + one[16:])
            await hold(
                lambda: (
                    len([one for one in smsc.pdus if one.sequence >= 100 and one.command & pdu.RESPONSE]) == len(raw)
                )
            )
        return [one for one in smsc.pdus if one.sequence >= 100 and one.command & pdu.RESPONSE]

    return sink, asyncio.run(scenario())


def test_a_receipt_in_a_data_sm_is_kept_and_answered_by_a_data_sm_resp() -> None:
    sink, (answer,) = deliveries(data_pdu(id=b"77\0", state=b"\2"))
    assert [(receipt.operator_message_id, receipt.status) for receipt in sink.receipts] == [("77", "delivered")]
    assert (answer.command, answer.status) == (pdu.DATA_SM | pdu.RESPONSE, statuses.OK)


@pytest.mark.breaks("ReceiptsUnreadable")
def test_what_cannot_be_read_is_kept_with_its_octets_and_the_setting_that_would_read_it() -> None:
    raw = deliver_pdu("id:77 stat:WHO err:000")
    before, unreadable = count("smpp_deliveries_total", kind="unreadable"), count("receipts_unreadable_total")
    sink, (answer,) = deliveries(raw)
    assert count("receipts_unreadable_total") == unreadable + 1
    assert answer.status == statuses.OK
    (unread,) = sink.unread
    assert unread.octets[16:] == raw[16:]
    assert (unread.operator, unread.protocol, unread.hint) == (NAME, "smpp", "RECEIPT_STATUSES=WHO=…")
    assert count("smpp_deliveries_total", kind="unreadable") == before + 1


def test_a_damaged_pdu_is_kept_and_acknowledged() -> None:
    damaged = pdu.pack(pdu.DELIVER_SM, 1, body=b"\0\x01\x01989")
    sink, (answer,) = deliveries(damaged)
    assert answer.status == statuses.OK
    assert [unread.reason for unread in sink.unread] == ["the PDU is damaged: it ends in source_addr"]


def test_what_looks_like_a_receipt_but_is_a_phones_message_is_kept_too() -> None:
    sink, _ = deliveries(deliver_pdu("id:77 stat:DELIVRD", esm_class=0), deliver_pdu("Hello", esm_class=0))
    assert [unread.hint for unread in sink.unread] == ["RECEIPTS_UNMARKED=on"]
    assert sink.receipts == []


def test_a_receipt_that_cannot_be_kept_is_not_acknowledged() -> None:
    answers = itertools.chain([1], itertools.repeat(0))

    async def scenario() -> None:
        smsc, sink = ScriptedSmsc(), Sink(failures=next(answers))
        async with smsc.listening() as settings, bound(settings, sink):
            smsc.writers[0].write(deliver_pdu("id:77 stat:WHO"))
            await hold(lambda: bool(smsc.of(pdu.DELIVER_SM | pdu.RESPONSE)))
        (answer,) = smsc.of(pdu.DELIVER_SM | pdu.RESPONSE)
        assert answer.status == statuses.TEMPORARY_RECEIVER_ERROR

    asyncio.run(scenario())
