"""Texts cut into submit_sm: what is charged is what is sent, and nothing that belongs together is parted."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st

from apps.sms import encoding
from apps.sms.operators.smpp import alphabets, gsm7, parts, pdu
from apps.sms.operators.smpp.parts import Dialect, Submits
from smsgateway import ids
from tests.support.operators import message
from tests.support.smpp import SETTINGS

GSM = "".join(sorted(encoding.BASIC | encoding.EXTENSION))
gsm_texts = st.text(alphabet=GSM, min_size=1, max_size=700) | st.text(alphabet="€a", min_size=140, max_size=320)
any_texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400) | st.text(
    alphabet="😀ب", min_size=30, max_size=140
)


def test_the_alphabet_is_that_of_the_prices() -> None:
    assert {chr(code) for code in gsm7._OCTETS} == encoding.BASIC | encoding.EXTENSION


@pytest.mark.parametrize(
    ("character", "octets"),
    [
        ("@", "00"),
        ("Ç", "09"),
        ("\n", "0a"),
        ("Δ", "10"),
        ("_", "11"),
        ("É", "1f"),
        (" ", "20"),
        ("¡", "40"),
        ("A", "41"),
        ("¿", "60"),
        ("à", "7f"),
        ("\f", "1b0a"),
        ("^", "1b14"),
        ("[", "1b3c"),
        ("|", "1b40"),
        ("€", "1b65"),
    ],
)
def test_characters_have_the_octets_of_the_standard(character: str, octets: str) -> None:
    assert gsm7.encode(character).hex() == octets


@given(gsm_texts)
def test_gsm_texts_come_back_part_by_part_and_as_many_as_are_charged(text: str) -> None:
    cut = alphabets.split(gsm7.encode(text), is_gsm7=True)
    assert len(cut) == encoding.encode(text, "gsm7").segments
    assert "".join(map(gsm7.decode, cut)) == text  # an escape parted from its character would show as a space
    assert all(len(part) <= (160 if len(cut) == 1 else 153) for part in cut)


@given(any_texts)
def test_ucs2_texts_come_back_part_by_part_and_as_many_as_are_charged(text: str) -> None:
    cut = alphabets.split(text.encode("utf-16-be"), is_gsm7=False)
    assert len(cut) == encoding.encode(text, "ucs2").segments
    assert "".join(part.decode("utf-16-be") for part in cut) == text  # half a pair would not decode
    assert all(len(part) <= (140 if len(cut) == 1 else 134) for part in cut)


def packed(text: str, coding: str, **changes: Any) -> tuple[int, list[smpp34.SubmitSm]]:
    """The low 16 bits of the message's id, and its PDUs as the library reads them."""
    sent = message(text=text, encoding=coding)
    submits = Submits(sent, Dialect(dataclasses.replace(SETTINGS, user_reference="off", **changes)))
    read = [smpp34.decode(submits.pack(number, 7 + number)) for number in range(len(submits))]
    assert all(isinstance(one, smpp34.SubmitSm) for one in read)
    return ids.from_text(sent.message_id).int & 0xFFFF, read  # type: ignore[return-value]


@given(gsm_texts)
def test_user_data_headers_number_the_parts(text: str) -> None:
    reference, read = packed(text, "gsm7")
    if len(read) == 1:
        assert (read[0].esm_class, gsm7.decode(read[0].short_message)) == (0, text)
        return
    headers = [one.short_message[:6] for one in read]
    assert headers == [bytes((5, 0, 3, reference & 0xFF, len(read), number)) for number in range(1, len(read) + 1)]
    assert {one.esm_class for one in read} == {pdu.UDH_INDICATOR}
    assert "".join(gsm7.decode(one.short_message[6:]) for one in read) == text
    assert [one.sequence_number for one in read] == list(range(7, 7 + len(read)))


def test_sar_parameters_number_the_parts() -> None:
    reference, read = packed("س" * 100, "ucs2", long_messages="sar")
    assert [[(tlv.tag, bytes(tlv.value)) for tlv in one.tlvs] for one in read] == [
        [
            (pdu.TLV_SAR_MSG_REF_NUM, reference.to_bytes(2)),
            (pdu.TLV_SAR_TOTAL_SEGMENTS, b"\2"),
            (pdu.TLV_SAR_SEGMENT_SEQNUM, bytes([number])),
        ]
        for number in (1, 2)
    ]
    assert b"".join(one.short_message for one in read).decode("utf-16-be") == "س" * 100
    assert {(one.esm_class, one.data_coding) for one in read} == {(0, 8)}


def test_a_payload_carries_all_in_one() -> None:
    _, (one,) = packed("x" * 1500, "gsm7", long_messages="payload")
    assert one.short_message == b""
    assert [(tlv.tag, bytes(tlv.value)) for tlv in one.tlvs] == [(pdu.TLV_MESSAGE_PAYLOAD, b"x" * 1500)]
    _, (one,) = packed("x" * 160, "gsm7", long_messages="payload")
    assert one.short_message == b"x" * 160


@pytest.mark.parametrize(
    ("sender", "kind", "sent"),
    [
        ("Shop", (5, 0), "Shop"),
        ("98100", (3, 0), "98100"),
        ("+989121234567", (1, 1), "989121234567"),
        ("982112345678", (1, 1), "982112345678"),
        ("", (0, 0), ""),
        ("100-A", (5, 0), "100-A"),
        ("+Shop", (5, 0), "+Shop"),
        ("A_B$@", (5, 0), "A_B$@"),
        ("S" * 15, (5, 0), "S" * 15),  # accepted by earlier versions, still on its way
        ("۹۸۱۰۰", (3, 0), "98100"),
    ],
)
def test_the_sender_tells_its_own_kind(sender: str, kind: tuple[int, int], sent: str) -> None:
    submits = Submits(msgspec.structs.replace(message(), sender=sender), Dialect(SETTINGS))
    read = smpp34.decode(submits.pack(0, 1))
    assert isinstance(read, smpp34.SubmitSm)
    assert ((read.source_addr_ton, read.source_addr_npi), read.source_addr) == (kind, sent)
    assert (read.dest_addr_ton, read.dest_addr_npi, read.destination_addr) == (1, 1, "989121111111")


def source_of(packed: bytes) -> bytes:
    """The octets of source_addr: the library reads texts as UTF-8 alone."""
    after_service_type = packed.index(b"\0", 16) + 3
    return packed[after_service_type : packed.index(b"\0", after_service_type)]


@pytest.mark.parametrize("service_type", ["", "CMT"])
@pytest.mark.parametrize(
    ("sender", "latin", "gsm"),
    [
        ("Shop", b"Shop", b"Shop"),
        ("A_B$", b"A_B$", b"A\x11B\x02"),
        ("Café", b"Caf\xe9", b"Caf\x05"),
        ("ééééééééééé", b"\xe9" * 11, b"\x05" * 11),
        ("[x]", b"[x]", b"\x1b\x3cx\x1b\x3e"),
        # What an alphabet lacks is written in the other: a NUL would end the address.
        ("é@b", b"\xe9@b", b"\xe9@b"),
        ("Ω€", b"\x15\x1b\x65", b"\x15\x1b\x65"),
    ],
)
def test_a_name_is_written_in_the_alphabet_that_the_smsc_reads(
    sender: str, latin: bytes, gsm: bytes, service_type: str
) -> None:
    for charset, octets in (("latin-1", latin), ("gsm", gsm)):
        settings = dataclasses.replace(SETTINGS, sender_charset=charset, service_type=service_type)
        packed = Submits(msgspec.structs.replace(message(), sender=sender), Dialect(settings)).pack(0, 1)
        assert source_of(packed) == octets
        read = smpp34.decode(packed)
        assert isinstance(read, smpp34.SubmitSm)
        assert (read.service_type, read.destination_addr) == (service_type, "989121111111")
        assert read.short_message == "سلام".encode("utf-16-be")


@pytest.mark.parametrize("sender", ["+", "Shop\n", "فروشگاه", "A\x00", "S" * 21, "1" * 21])
def test_a_sender_that_no_address_carries_is_refused(sender: str) -> None:
    with pytest.raises(ValueError, match=r"an address has|control characters|codec can't encode"):
        Submits(msgspec.structs.replace(message(), sender=sender), Dialect(SETTINGS))


@pytest.mark.parametrize(
    ("seconds", "period"),
    [
        (60, "000000000100000R"),
        (172_800 + 3723, "000002010203000R"),
        (10**8, "000030235959000R"),
        (-5, "000000000001000R"),
    ],
)
def test_the_validity_is_what_is_left_of_the_messages(
    seconds: int, period: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    assert parts._validity((1_000_000 + seconds) * 1000, SETTINGS) == period


@pytest.mark.parametrize(("receipts", "flag"), [("all", 1), ("failures", 2), ("none", 0)])
def test_the_receipts_that_are_asked_for(receipts: str, flag: int) -> None:
    _, (one,) = packed("x", "gsm7", receipts=receipts, validity="operator")
    assert (one.registered_delivery, one.validity_period) == (flag, "")


def test_the_user_reference_is_sent_where_it_is_wished() -> None:
    sent = message()
    one = smpp34.decode(Submits(sent, Dialect(SETTINGS)).pack(0, 1))
    assert isinstance(one, smpp34.SubmitSm)
    reference = ids.from_text(sent.message_id).int & 0xFFFF
    assert [(tlv.tag, bytes(tlv.value)) for tlv in one.tlvs] == [
        (pdu.TLV_USER_MESSAGE_REFERENCE, reference.to_bytes(2))
    ]
