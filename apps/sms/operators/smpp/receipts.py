"""Delivery receipts in deliver_sm: parameters of their own, or the text that every SMSC writes a little differently.

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
# Their first five letters: some SMSCs write them out.
_WORDS: Final[dict[str, ReceiptStatus]] = {
    "DELIV": statuses.DELIVERED,
    "EXPIR": statuses.EXPIRED,
    "DELET": statuses.UNDELIVERED,
    "UNDEL": statuses.UNDELIVERED,
    "REJEC": statuses.REJECTED,
    "SKIPP": statuses.UNDELIVERED,
}
_PASSING_WORDS: Final = frozenset({"SCHED", "ENROU", "ACCEP", "UNKNO"})
# A field may be empty, so that the next one's name follows; the text that is quoted at the end may have anything.
_FIELD: Final = re.compile(
    r"\b(id|stat|err|done date)[ \t]*:(?:[ \t]+(?!(?:done |submit )?[a-z]+:))?(\S*)", re.IGNORECASE
)
_QUOTED: Final = re.compile(r"\btext[ \t]*:", re.IGNORECASE)
_ID: Final = re.compile(r"[^\x00-\x20\x7f]{1,64}")
_ERROR: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")

Kind = Literal["receipt", "intermediate", "unreadable", "message"]


class Delivered(NamedTuple):
    """What a deliver_sm is. `receipt` is there if it is of that kind; `text` is for the log, where it is none."""

    kind: Kind
    receipt: Receipt | None = None


class ReceiptReader:
    """Reads the deliver_sm of one operator."""

    def __init__(self, *, ids: str, zone: str) -> None:
        """`ids`: as the setting RECEIPT_IDS has it. `zone`: of the done date; empty takes the time of arrival."""
        self._ids = ids
        self._zone = zoneinfo.ZoneInfo(zone) if zone else None

    def submitted_id(self, told: str) -> str:
        """The id in a submit_sm_resp as it is kept; empty if it is none that can be."""
        return _id(told, 16 if self._ids == "hex-then-decimal" else 10 if self._ids == "decimal-then-hex" else 0)

    def receipted_id(self, told: str) -> str:
        """The id in a receipt as it is kept; empty if it is none that can be."""
        return _id(told, 10 if self._ids == "hex-then-decimal" else 16 if self._ids == "decimal-then-hex" else 0)

    def read(self, deliver: smpp34.DeliverSm) -> Delivered:
        """What this deliver_sm is. Never raises: whatever an SMSC sends must be answered."""
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
        told = tlvs.get(pdu.TLV_RECEIPTED_MESSAGE_ID, b"").split(b"\0")[0].decode("latin-1") or fields.get("id", "")
        operator_message_id = self.receipted_id(told)
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
        """YYMMDDhhmm or YYMMDDhhmmss as milliseconds since 1970; now, if it is none, lies ahead, or is in no zone."""
        now = time.time_ns() // 1_000_000
        if self._zone and re.fullmatch(r"[0-9]{10}|[0-9]{12}", done):
            try:
                moment = dt.datetime.strptime(done.ljust(12, "0"), "%y%m%d%H%M%S").replace(tzinfo=self._zone)
            except ValueError:
                return now
            return max(0, min(now, int(moment.timestamp() * 1000)))
        return now


def fields_of(text: str) -> dict[str, str]:
    """The fields of a receipt's text, by their names in small letters; the first of a name counts."""
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
    """The text's error as it is written; else the network's own, without the octet that tells which network."""
    told = fields.get("err", "")
    if _ERROR.fullmatch(told):
        return told
    network = tlvs.get(pdu.TLV_NETWORK_ERROR_CODE, b"")
    return str(int.from_bytes(network[1:3])) if len(network) == 3 else ""


def _text(content: bytes, coding: int) -> str:
    return content.decode("utf-16-be", "replace") if coding == parts.UCS2_CODING else content.decode("latin-1")


def _id(told: str, base: int) -> str:
    """An id as it is kept: as it was written, or its number in decimal where `base` tells how that was."""
    if not _ID.fullmatch(told):
        return ""
    if base:
        try:
            return str(int(told, base)) if told.isascii() and told.isalnum() else told
        except ValueError:
            return told  # not of the form that it was said to have: perhaps the receipt has the same
    return told
