"""The submit_sm PDUs of a message: encoded, and split into the segments that `apps.sms.encoding` counts."""

from __future__ import annotations

import functools
import time
from typing import Final

import smpp34

from apps.sms import encoding
from apps.sms.events import DeliveryRequested
from apps.sms.operators.smpp import addresses, gsm7, pdu
from smsgateway import ids
from smsgateway.config import SmppOperator

GSM7_CODING: Final = 0x00
UCS2_CODING: Final = 0x08

# Octets of a single part, and of each of several: there a header takes 6 octets (3GPP TS 23.040).
_GSM7_SINGLE, _GSM7_PART = 160, 153
_UCS2_SINGLE, _UCS2_PART = 140, 134

_REGISTERED: Final = {"all": 1, "failures": 2, "none": 0}


def split(text: str, coding: str) -> list[bytes]:
    """The octets of each part of a text in `gsm7` or `ucs2`. No escape sequence or surrogate pair is split.

    Raises UnicodeEncodeError if the text cannot be encoded in it.
    """
    if coding == encoding.GSM7:
        octets, single, part = gsm7.encode(text), _GSM7_SINGLE, _GSM7_PART
    else:
        octets, single, part = text.encode("utf-16-be"), _UCS2_SINGLE, _UCS2_PART
    if len(octets) <= single:
        return [octets]
    parts, start = [], 0
    while start < len(octets):
        end = start + part
        if end < len(octets):
            if coding == encoding.GSM7:
                end -= octets[end - 1] == gsm7.ESCAPE
            elif 0xD8 <= octets[end - 2] <= 0xDB:
                end -= 2  # the first half of a surrogate pair
        parts.append(octets[start:end])
        start = end
    return parts


class Submits:
    """The submit_sm PDUs of one message. `pack` makes each, with its sequence number."""

    def __init__(self, message: DeliveryRequested, settings: SmppOperator) -> None:
        """Raises ValueError if the text or an address cannot be sent."""
        self._settings = settings
        self._message_id = message.message_id
        self._source, (ton, npi) = addresses.source(message.sender, settings)
        self._submit = functools.partial(
            smpp34.SubmitSm,
            # The codec writes texts in UTF-8. Other octets get placeholders here, which `pack` replaces.
            source_addr=self._source.decode("ascii", "replace").replace("\ufffd", "?"),
            destination_addr=addresses.destination(message.to),
            service_type=settings.service_type,
            source_addr_ton=ton,
            source_addr_npi=npi,
            dest_addr_ton=settings.recipient_ton,
            dest_addr_npi=settings.recipient_npi,
            registered_delivery=_REGISTERED[settings.receipts],
            data_coding=GSM7_CODING if message.encoding == encoding.GSM7 else UCS2_CODING,
            validity_period=_relative(message.expires_at) if settings.validity == "message" else "",
        )
        self._parts = split(message.text, message.encoding)
        self._whole = b"".join(self._parts) if len(self._parts) > 1 and settings.long_messages == "payload" else None

    def __len__(self) -> int:
        return 1 if self._whole is not None else len(self._parts)

    @functools.cached_property
    def _reference(self) -> int:
        """16 random bits, the same at every try."""
        return ids.from_text(self._message_id).int & 0xFFFF

    def pack(self, number: int, sequence: int) -> bytes:
        """The PDU of a part, counted from 0. Only its sequence number differs between tries, so a phone recognizes a
        part that it gets twice."""
        esm_class = 0
        tlvs = []
        if self._settings.user_reference == "on":
            tlvs.append(smpp34.Tlv(pdu.TLV_USER_MESSAGE_REFERENCE, self._reference.to_bytes(2)))
        if self._whole is not None:
            content = b""
            tlvs.append(smpp34.Tlv(pdu.TLV_MESSAGE_PAYLOAD, self._whole))
        elif len(self._parts) == 1:
            content = self._parts[0]
        elif self._settings.long_messages == "sar":
            content = self._parts[number]
            tlvs += [
                smpp34.Tlv(pdu.TLV_SAR_MSG_REF_NUM, self._reference.to_bytes(2)),
                smpp34.Tlv(pdu.TLV_SAR_TOTAL_SEGMENTS, bytes([len(self._parts)])),
                smpp34.Tlv(pdu.TLV_SAR_SEGMENT_SEQNUM, bytes([number + 1])),
            ]
        else:
            header = bytes((5, 0, 3, self._reference & 0xFF, len(self._parts), number + 1))
            content = header + self._parts[number]
            esm_class = pdu.UDH_INDICATOR
        submit = self._submit(short_message=content, esm_class=esm_class, tlvs=tlvs, sequence_number=sequence)
        return submit.encode() if self._source.isascii() else self._with_source(submit.encode())

    def _with_source(self, packed: bytes) -> bytes:
        start = packed.index(b"\0", pdu.HEADER_LENGTH) + 3  # after the service type, the type and the plan
        return packed[:start] + self._source + packed[start + len(self._source) :]


def _relative(expires_at: int) -> str:
    """The time until `expires_at` (milliseconds since 1970) in the form of SMPP 3.4, section 7.1.1:
    YYMMDDhhmmss000R."""
    seconds = max(1, min(expires_at // 1000 - int(time.time()), 31 * 86_400 - 1))
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"0000{days:02d}{hours:02d}{minutes:02d}{seconds:02d}000R"
