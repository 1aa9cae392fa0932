"""The submit_sm PDUs of a message: encoded, and split into the segments that `apps.sms.encoding` counts."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import random
import time
from collections import OrderedDict
from typing import Final

import smpp34

from apps.sms.events import DeliveryRequested
from apps.sms.operators.smpp import addresses, alphabets, pdu
from apps.sms.operators.smpp.tlvs import AddedTlvs
from smsgateway import ids
from smsgateway.config import SmppOperator

_REGISTERED: Final = {"all": 1, "failures": 2, "none": 0}
# Messages whose reference is remembered for another try.
_REMEMBERED: Final = 10_000
_LONGEST_RELATIVE: Final = 31 * 86_400 - 1


class Dialect:
    """What all submits of one operator's connection share."""

    def __init__(self, settings: SmppOperator) -> None:
        self.settings = settings
        self.tlvs = AddedTlvs(settings.tlvs)
        # Workers count from different places: two of them must not give the same reference to one phone at once.
        self._counter = itertools.count(random.randrange(0x10000)) if settings.reference == "counter" else None
        self._given: OrderedDict[str, int] = OrderedDict()

    def reference(self, message_id: str) -> int:
        """The 16 bits that join a message's parts: the same at every try, so a phone recognizes a part that it gets
        twice."""
        if self._counter is None:
            return ids.from_text(message_id).int & 0xFFFF
        if message_id not in self._given:
            self._given[message_id] = next(self._counter) & 0xFFFF
            if len(self._given) > _REMEMBERED:
                self._given.popitem(last=False)
        return self._given[message_id]


class Submits:
    """The submit_sm PDUs of one message. `pack` makes each, with its sequence number."""

    def __init__(self, message: DeliveryRequested, dialect: Dialect) -> None:
        """Raises ValueError if the text, an address or a parameter cannot be sent."""
        settings = dialect.settings
        self._settings = settings
        self._dialect = dialect
        self._message_id = message.message_id
        self._source, (ton, npi) = addresses.source(message.sender, settings)
        destination, (dest_ton, dest_npi) = addresses.destination(message.to, settings)
        self._cut = alphabets.parts_of(
            message.text,
            message.encoding,
            alphabet=settings.alphabet,
            data_coding=settings.data_coding,
            reference_bits=int(settings.reference_bits),
            has_headers=settings.long_messages == "udh",
        )
        self._whole = None
        if len(self._cut.octets) > 1 and settings.long_messages == "payload":
            # The alphabet may lack characters: then the parts were cut as UCS-2.
            is_gsm7 = self._cut.data_coding != alphabets.UCS2_CODING or settings.data_coding == alphabets.UCS2_CODING
            coding = message.encoding if is_gsm7 else "ucs2"
            self._whole = alphabets.whole(message.text, coding, alphabet=settings.alphabet)
        self._tlvs = dialect.tlvs.of(message)
        self._submit = functools.partial(
            smpp34.SubmitSm,
            # The codec writes texts in UTF-8. Other octets get placeholders here, which `pack` replaces.
            source_addr=self._source.decode("ascii", "replace").replace("\ufffd", "?"),
            destination_addr=destination,
            service_type=settings.service_type,
            source_addr_ton=ton,
            source_addr_npi=npi,
            dest_addr_ton=dest_ton,
            dest_addr_npi=dest_npi,
            registered_delivery=_REGISTERED[settings.receipts],
            data_coding=self._cut.data_coding,
            validity_period=_validity(message.expires_at, settings) if settings.validity == "message" else "",
        )

    def __len__(self) -> int:
        return 1 if self._whole is not None else len(self._cut.octets)

    def pack(self, number: int, sequence: int) -> bytes:
        """The PDU of a part, counted from 0. Only its sequence number differs between tries."""
        esm_class = 0
        parts = self._cut.octets
        tlvs = list(self._tlvs)
        if self._settings.user_reference == "on":
            reference = ids.from_text(self._message_id).int & 0xFFFF
            tlvs.append(smpp34.Tlv(pdu.TLV_USER_MESSAGE_REFERENCE, reference.to_bytes(2)))
        if self._whole is not None:
            content = b""
            tlvs.append(smpp34.Tlv(pdu.TLV_MESSAGE_PAYLOAD, self._whole))
        elif len(parts) == 1:
            content = parts[0]
        elif self._settings.long_messages == "sar":
            content = parts[number]
            tlvs += [
                smpp34.Tlv(pdu.TLV_SAR_MSG_REF_NUM, self._dialect.reference(self._message_id).to_bytes(2)),
                smpp34.Tlv(pdu.TLV_SAR_TOTAL_SEGMENTS, bytes([len(parts)])),
                smpp34.Tlv(pdu.TLV_SAR_SEGMENT_SEQNUM, bytes([number + 1])),
            ]
        else:
            content = self._header(number) + parts[number]
            esm_class = pdu.UDH_INDICATOR
        submit = self._submit(short_message=content, esm_class=esm_class, tlvs=tlvs, sequence_number=sequence)
        return submit.encode() if self._source.isascii() else self._with_source(submit.encode())

    def _header(self, number: int) -> bytes:
        """The user data header of a part (3GPP TS 23.040, sections 9.2.3.24.1 and 9.2.3.24.8)."""
        reference, place = self._dialect.reference(self._message_id), (len(self._cut.octets), number + 1)
        if self._cut.reference_bits == 16:
            return bytes((6, 8, 4)) + reference.to_bytes(2) + bytes(place)
        return bytes((5, 0, 3, reference & 0xFF, *place))

    def _with_source(self, packed: bytes) -> bytes:
        start = packed.index(b"\0", pdu.HEADER_LENGTH) + 3  # after the service type, the type and the plan
        return packed[:start] + self._source + packed[start + len(self._source) :]


def _validity(expires_at: int, settings: SmppOperator) -> str:
    """The validity_period until `expires_at` (milliseconds since 1970), in a form of SMPP 3.4, section 7.1.1.

    It is at most the operator's longest: the worker itself stops at the message's own expiry.
    """
    now = int(time.time())
    seconds = max(1, min(expires_at // 1000 - now, settings.longest_validity or _LONGEST_RELATIVE, _LONGEST_RELATIVE))
    if settings.validity_form == "absolute":
        return f"{dt.datetime.fromtimestamp(now + seconds, tz=dt.UTC):%y%m%d%H%M%S}000+"
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"0000{days:02d}{hours:02d}{minutes:02d}{seconds:02d}000R"
