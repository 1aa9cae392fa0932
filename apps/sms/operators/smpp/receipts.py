"""Delivery receipts in deliver_sm: optional parameters, or a text that every SMSC writes a little differently.

Source: SMPP 3.4, sections 2.11, 5.2.12, 5.2.28, and appendix B.
"""

from __future__ import annotations

import datetime as dt
import re
import time
import zoneinfo
from typing import Final, Literal, NamedTuple

import smpp34

from apps.sms import statuses
from apps.sms.operators.base import Receipt, ReceiptStatus
from apps.sms.operators.smpp import parts, pdu

# esm_class, bits 2 to 5.
_TYPE: Final = 0x3C
_RECEIPT: Final = 0x04
_INTERMEDIATE: Final = 0x20

_STATES: Final[dict[int, ReceiptStatus]] = {
    2: statuses.DELIVERED,
    3: statuses.EXPIRED,
    4: statuses.UNDELIVERED,  # deleted
    5: statuses.UNDELIVERED,
    8: statuses.REJECTED,
    9: statuses.UNDELIVERED,  # skipped, of version 5
}
_PASSING_STATES: Final = frozenset({0, 1, 6, 7})  # scheduled, en route, accepted, unknown
# By the first five letters: some SMSCs write the words in full.
_WORDS: Final[dict[str, ReceiptStatus]] = {
    "DELIV": statuses.DELIVERED,
    "EXPIR": statuses.EXPIRED,
    "DELET": statuses.UNDELIVERED,
    "UNDEL": statuses.UNDELIVERED,
    "REJEC": statuses.REJECTED,
    "SKIPP": statuses.UNDELIVERED,
}
_PASSING_WORDS: Final = frozenset({"SCHED", "ENROU", "ACCEP", "UNKNO"})
# A field may be empty: then the next field's name follows. The quoted text at the end may contain anything.
_FIELD: Final = re.compile(
    r"\b(id|stat|err|done date)[ \t]*:(?:[ \t]+(?!(?:done |submit )?[a-z]+:))?(\S*)", re.IGNORECASE
)
_QUOTED: Final = re.compile(r"\btext[ \t]*:", re.IGNORECASE)
_ID: Final = re.compile(r"[^\x00-\x20\x7f]{1,64}")
_ERROR: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")

Kind = Literal["receipt", "intermediate", "unreadable", "message"]


class Delivered(NamedTuple):
    """The kind of a deliver_sm, and its receipt if that is the kind."""

    kind: Kind
    receipt: Receipt | None = None


class ReceiptReader:
    """Reads the deliver_sm of one operator."""

    def __init__(self, *, ids: str, zone: str) -> None:
        """`ids`: the setting RECEIPT_IDS. `zone`: the time zone of the done date; if empty, the time of arrival
        counts."""
        self._ids = ids
        self._zone = zoneinfo.ZoneInfo(zone) if zone else None

    def submitted_id(self, written: str) -> str:
        """The id in a submit_sm_resp in the form that is stored; empty if it cannot be stored."""
        return _id(written, 16 if self._ids == "hex-then-decimal" else 10 if self._ids == "decimal-then-hex" else 0)

    def receipted_id(self, written: str) -> str:
        """The id in a receipt in the form that is stored; empty if it cannot be stored."""
        return _id(written, 10 if self._ids == "hex-then-decimal" else 16 if self._ids == "decimal-then-hex" else 0)

    def read(self, deliver: smpp34.DeliverSm) -> Delivered:
        """Read a deliver_sm. Never raises: every deliver_sm must be answered."""
        tlvs = {tlv.tag: bytes(tlv.value) for tlv in deliver.tlvs}
        kind = deliver.esm_class & _TYPE
        if kind == _INTERMEDIATE:
            return Delivered("intermediate")
        if kind != _RECEIPT and pdu.TLV_RECEIPTED_MESSAGE_ID not in tlvs:
            return Delivered("message")
        content = bytes(deliver.short_message) or tlvs.get(pdu.TLV_MESSAGE_PAYLOAD, b"")
        fields = fields_of(_text(content, deliver.data_coding))
        status = _status(tlvs, fields)
        if status == "intermediate":
            return Delivered("intermediate")
        from_tlv = tlvs.get(pdu.TLV_RECEIPTED_MESSAGE_ID, b"").split(b"\0")[0].decode("latin-1")
        operator_message_id = self.receipted_id(from_tlv or fields.get("id", ""))
        if not status or not operator_message_id:
            return Delivered("unreadable")
        receipt = Receipt(
            reference=None,
            operator_message_id=operator_message_id,
            status=status,
            error="" if status == statuses.DELIVERED else _error(tlvs, fields),
            at=self._moment(fields.get("done date", "")),
        )
        return Delivered("receipt", receipt)

    def _moment(self, done: str) -> int:
        """YYMMDDhhmm or YYMMDDhhmmss as milliseconds since 1970. Falls back to now if missing, in the future, or
        without a zone."""
        now = time.time_ns() // 1_000_000
        if self._zone and re.fullmatch(r"[0-9]{10}|[0-9]{12}", done):
            try:
                moment = dt.datetime.strptime(done.ljust(12, "0"), "%y%m%d%H%M%S").replace(tzinfo=self._zone)
            except ValueError:
                return now
            return max(0, min(now, int(moment.timestamp() * 1000)))
        return now


def fields_of(text: str) -> dict[str, str]:
    """The fields of a receipt's text, by their names in lower case. The first field of a name counts."""
    found: dict[str, str] = {}
    for match in _FIELD.finditer(_QUOTED.split(text, maxsplit=1)[0]):
        found.setdefault(match[1].lower(), match[2])
    return found


def _status(tlvs: dict[int, bytes], fields: dict[str, str]) -> ReceiptStatus | Literal["intermediate", ""]:
    state = tlvs.get(pdu.TLV_MESSAGE_STATE, b"")
    if len(state) == 1:
        if state[0] in _PASSING_STATES:
            return "intermediate"
        if state[0] in _STATES:
            return _STATES[state[0]]
    word = fields.get("stat", "")[:5].upper()
    return "intermediate" if word in _PASSING_WORDS else _WORDS.get(word, "")


def _error(tlvs: dict[int, bytes], fields: dict[str, str]) -> str:
    """The error in the text, as written; or else the network's error code, without the octet of the network type."""
    written = fields.get("err", "")
    if _ERROR.fullmatch(written):
        return written
    network = tlvs.get(pdu.TLV_NETWORK_ERROR_CODE, b"")
    return str(int.from_bytes(network[1:3])) if len(network) == 3 else ""


def _text(content: bytes, coding: int) -> str:
    return content.decode("utf-16-be", "replace") if coding == parts.UCS2_CODING else content.decode("latin-1")


def _id(written: str, base: int) -> str:
    """An id in the form that is stored: its number in decimal, read in `base`; or as written if `base` is 0."""
    if not _ID.fullmatch(written):
        return ""
    if base:
        try:
            return str(int(written, base)) if written.isascii() and written.isalnum() else written
        except ValueError:
            return written  # not a number in this base; perhaps the receipt has the id in the same form
    return written
