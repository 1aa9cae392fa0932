"""All that is charged can be encoded by each adapter, and what can be encoded is not refused for its form.

Random senders, texts and options go through the API's own decoding and checks, and what these accept through the
adapters' own encoding, down to the octets; the octets are read by software that is not ours.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
import smpp34
import yarl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.sms.accept.drafts import Draft, Drafter
from apps.sms.accept.requests import MessageFields, SendRequest, decode, decode_batch
from apps.sms.encoding import BASIC, EXTENSION
from apps.sms.events import DeliveryRequested
from apps.sms.operators import registry
from apps.sms.operators.generic_http import GenericHttp
from apps.sms.operators.http import HttpAnswer, HttpConnections
from apps.sms.operators.irancell import Irancell
from apps.sms.operators.mci import Mci
from apps.sms.operators.smpp import gsm7
from apps.sms.operators.smpp.parts import Dialect, Submits
from smsgateway import config, ids
from smsgateway.errors import InvalidRequest
from tests.support.smpp import SETTINGS as SMPP

CUSTOMER = ids.to_text(ids.new_id())
MOST = 400  # characters, so that limits are met often
GATEWAY, _ = config.load(
    {
        "SMS_MAX_LENGTH": str(MOST),
        "OPERATORS_HTTP": "json,form,get",
        "OPERATOR_JSON_URL": "http://json.example/",
        "OPERATOR_FORM_URL": "http://form.example/",
        "OPERATOR_FORM_BODY_FORMAT": "form",
        "OPERATOR_GET_URL": "http://get.example/?from={sender}&to={recipient}&text={text}",
        "OPERATOR_GET_METHOD": "GET",
    }
)

GSM = "".join(sorted(BASIC | EXTENSION))
TYPOGRAPHY = "\u2019\u201c\u2013\u2026\u00a0\u00ad\u200b\u200c\u200e\u202c\ufb03\ufeff\u2028`"
COMBINING = "aAeEnNoOuU\u0301\u0308\u030a\u0303\u0327"
MIXED = GSM + TYPOGRAPHY + COMBINING + "سلام\u0653۱٤９😀\U0001d15e\ufb1d\u212b\x1b\x7f"

senders = st.one_of(
    st.just(""),
    st.text(GSM, min_size=1, max_size=14),
    st.text("^{}[]~|€aB@", min_size=1, max_size=12),
    st.from_regex(r"\+?[0-9۰-۹]{0,17}", fullmatch=True),
    st.text(MIXED, max_size=16),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=16),
)
texts = st.one_of(
    st.text(GSM, min_size=1, max_size=MOST + 10),
    st.text(MIXED, max_size=MOST + 10),
    st.text(TYPOGRAPHY + COMBINING, min_size=1, max_size=MOST + 10),
    st.builds(lambda part, times: part * times, st.text(GSM + TYPOGRAPHY, min_size=1, max_size=30), st.integers(5, 20)),
    st.builds(lambda part, times: part * times, st.text(MIXED, min_size=1, max_size=9), st.integers(20, 40)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=MOST + 10),
)
wishes = st.fixed_dictionaries(
    {"text": texts, "from": senders, "transliterate": st.booleans()},
    optional={
        "encoding": st.sampled_from(["auto", "gsm7", "ucs2"]),
        "max_segments": st.integers(1, 6),
    },
)


def drafted(item: dict[str, Any]) -> Draft | set[str]:
    """What the API makes of a message: the draft that it would charge, or the codes of what is wrong."""
    body = json.dumps({"customer_id": CUSTOMER, "to": "+989121234567", **item}).encode()
    drafter = Drafter(config=GATEWAY.sms, price=lambda _: 1, now=dt.datetime.now(tz=dt.UTC))
    try:
        wanted = decode(body, SendRequest, config=GATEWAY.sms)
    except InvalidRequest as refused:
        found: Any = refused.errors
    else:
        found = drafter.draft(wanted, wanted.to)
    return {error["code"] for error in found} if isinstance(found, list) else found


def in_a_batch(item: dict[str, Any], *, broadcast: bool) -> Draft | set[str]:
    drafter = Drafter(config=GATEWAY.sms, price=lambda _: 1, now=dt.datetime.now(tz=dt.UTC))
    to = "+989121234567"
    form = {"to": [to], **item} if broadcast else {"messages": [{"to": to, **item}]}
    try:
        batch = decode_batch(json.dumps({"customer_id": CUSTOMER, **form}).encode(), config=GATEWAY.sms)
    except InvalidRequest as refused:
        return {error["code"] for error in refused.errors}
    (found,) = drafter.drafts(cast(list[tuple[MessageFields, str] | list[dict[str, str]]], batch.items))
    return {error["code"] for error in found} if isinstance(found, list) else found


def requested(draft: Draft) -> DeliveryRequested:
    """The message as the relay puts it on Kafka."""
    return DeliveryRequested(
        message_id=ids.to_text(ids.new_id()),
        customer_id=CUSTOMER,
        accepted_at=0,
        expires_at=draft.expires_at,
        operator="mci",
        to=draft.recipient,
        sender=draft.sender,
        text=draft.text,
        encoding=draft.encoding,
        segments=draft.segments,
        cost=draft.cost,
        segments_per_second=1,
    )


class Wire:
    """The requests of the HTTP adapters, answered as each of them wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[str, bytes | None]] = []
        answer = json.dumps({"messageId": "1", "status": 0, "id": "1"}).encode()

        async def request(_self: object, _method: str, url: str, body: bytes | None = None) -> HttpAnswer:
            self.sent.append((url, body))
            return HttpAnswer(200, answer, None)

        monkeypatch.setattr(HttpConnections, "request", request)
        built = registry.build(GATEWAY)
        self._operators = [built[name] for name in ("mci", "irancell", "json", "form", "get")]
        assert [type(one) for one in self._operators] == [Mci, Irancell, GenericHttp, GenericHttp, GenericHttp]

    def carried(self, message: DeliveryRequested) -> Iterator[tuple[str, str, str]]:
        """For each adapter the sender, the recipient and the text that an operator reads."""

        async def submit() -> None:
            for operator in self._operators:
                await operator.submit(message)

        self.sent.clear()
        asyncio.run(submit())
        mci, irancell, generic = (json.loads(body or b"") for _, body in self.sent[:3])
        yield mci["sender"], mci["recipient"], mci["text"]
        yield irancell["src"], irancell["dst"], irancell["body"]
        yield generic["from"], generic["to"], generic["text"]
        form = parse_qs((self.sent[3][1] or b"").decode("ascii"), keep_blank_values=True, strict_parsing=True)
        yield form["from"][0], form["to"][0], form["text"][0]
        query = yarl.URL(self.sent[4][0], encoded=True).query
        yield query["from"], query["to"], query["text"]


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Wire(monkeypatch)


def over_smpp(message: DeliveryRequested, charset: str, long_messages: str) -> tuple[str, str, str, int]:
    """Sender, recipient and text as an SMSC reads them, and the number of PDUs."""
    changed = dataclasses.replace(SMPP, sender_charset=charset, long_messages=long_messages)
    submits = Submits(message, Dialect(changed))
    content, sender, recipient = b"", "", ""
    for number in range(len(submits)):
        packed = submits.pack(number, 1)
        read = smpp34.decode(packed)
        assert isinstance(read, smpp34.SubmitSm)
        assert len(read.short_message) <= 160
        start = packed.index(b"\0", 16) + 3
        octets = packed[start : packed.index(b"\0", start)]
        recipient = read.destination_addr
        # An @ and Greek letters are each in one of the two alphabets only.
        gsm = read.source_addr_ton == 5 and (charset == "gsm" and "@" not in message.sender)
        gsm = gsm or any(character > "\xff" for character in message.sender)
        sender = gsm7.decode(octets) if gsm else octets.decode("latin-1")
        payload = [bytes(tlv.value) for tlv in read.tlvs if tlv.tag == 0x0424]
        part = payload[0] if payload else read.short_message
        content += part[6:] if read.esm_class & 0x40 else part
    text = gsm7.decode(content) if message.encoding == "gsm7" else content.decode("utf-16-be")
    return sender, recipient, text, len(submits)


@given(wishes, st.sampled_from(["latin-1", "gsm"]), st.sampled_from(["udh", "sar", "payload"]))
@example({"text": "\u200b", "from": "", "transliterate": True}, "latin-1", "udh")
@example({"text": "\u2026" * MOST, "from": "", "transliterate": True}, "latin-1", "udh")
@example({"text": "e\u0301", "from": "\u06f9\u06f8\u06f1", "transliterate": True}, "gsm", "sar")
@example({"text": "x", "from": "Shop\n", "transliterate": False}, "latin-1", "udh")
@example({"text": "x", "from": "+", "transliterate": False}, "latin-1", "udh")
@example({"text": "x", "from": "\u20ac\u20ac\u20ac\u20ac\u20aca", "transliterate": False}, "latin-1", "payload")
@settings(max_examples=400)
def test_what_is_charged_every_operator_can_be_given(
    wire: Wire, item: dict[str, Any], charset: str, long_messages: str
) -> None:
    draft = drafted(item)
    if isinstance(draft, set):
        return
    assert 0 < len(draft.text) <= MOST
    assert draft.segments <= item.get("max_segments", 255)
    assert draft.encoding != "gsm7" or set(draft.text) <= set(GSM)
    message = requested(draft)
    for carried in wire.carried(message):
        assert carried == (draft.sender, draft.recipient, draft.text)
    plus = "+" if draft.sender.removeprefix("+").isdigit() and draft.sender.startswith("+") else ""
    sender, recipient, text, pdus = over_smpp(message, charset, long_messages)
    assert (plus + sender, f"+{recipient}", text) == (draft.sender, draft.recipient, draft.text)
    assert bool(sender) is bool(item["from"])
    assert pdus == (1 if long_messages == "payload" else draft.segments)


def sendable(sender: str) -> bool:
    """The rule for senders, as docs/reference/api.md has it, written a second time."""
    written = "".join(str(int(character)) if character.isdecimal() else character for character in sender).strip(" ")
    digits = written.removeprefix("+")
    if all(character in "0123456789" for character in digits):
        return 3 <= len(digits) <= 15
    try:
        septets = gsm7.encode(written)
    except UnicodeEncodeError:
        return False
    both = "@" in written and any(character > "\xff" for character in written)
    return len(septets) <= 11 and not set("\n\r\f") & set(written) and not both


@given(wishes)
@settings(max_examples=400)
def test_what_can_be_encoded_is_not_refused_for_its_form(item: dict[str, Any]) -> None:
    found = drafted(item)
    codes = found if isinstance(found, set) else set()
    assert ("invalid_sender" in codes) is (bool(item["from"]) and not sendable(item["from"]))
    text = item["text"]
    if item["transliterate"]:
        plainly = drafted(item | {"transliterate": False})
        assert codes - (plainly if isinstance(plainly, set) else set()) <= {"empty", "too_long", "too_many_segments"}
        return
    assert ("empty" in codes) is (not text)
    assert ("too_long" in codes) is (len(text) > MOST)
    assert ("invalid_characters" in codes) is ("\x00" in text)
    gsm = bool(text) and set(text) <= set(GSM)
    assert ("not_gsm7" in codes) is (item.get("encoding") == "gsm7" and bool(text) and not gsm)
    if "max_segments" not in item:
        assert "too_many_segments" not in codes


@given(wishes)
@settings(max_examples=200)
def test_each_way_to_send_judges_alike(item: dict[str, Any]) -> None:
    single = drafted(item)
    for broadcast in (False, True):
        found = in_a_batch(item, broadcast=broadcast)
        if isinstance(single, set) or isinstance(found, set):
            assert found == single
        else:
            assert found[:6] == single[:6]
