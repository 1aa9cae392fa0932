"""Delivery receipts in deliver_sm and data_sm: optional parameters, or a text that every SMSC writes differently.

A receipt counts only if everything in it agrees. What cannot be read has a reason, and the setting that would read it.

Source: SMPP 3.4, sections 2.11, 5.2.12, 5.2.28, and appendix B.
"""

from __future__ import annotations

import re
import time
import zoneinfo
from typing import Final, Literal, NamedTuple

from apps.sms import statuses
from apps.sms.operators.base import INTERMEDIATE, Receipt, ReceiptStatus
from apps.sms.operators.message_ids import IdFault, MessageIds
from apps.sms.operators.smpp import gsm7, pdu
from apps.sms.operators.smpp.deliveries import Delivery
from apps.sms.operators.smpp.receipt_text import Fields, fields_of, has_control_characters, readings
from apps.sms.operators.smpp.receipt_times import moment_of
from apps.sms.operators.status_words import StatusWords
from smsgateway.config import SmppOperator

# esm_class, bits 2 to 5.
_TYPE: Final = 0x3C
_RECEIPT: Final = 0x04
_NOTIFICATION: Final = 0x20
_PLAIN: Final = 0x00

State = ReceiptStatus | Literal["intermediate"]

# The standard's words for the states, so that an operator's settings may give them another meaning.
_STATES: Final = {
    0: "SCHEDLD",
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    7: "UNKNOWN",
    8: "REJECTD",
    9: "SKIPPED",  # of version 5
}
_UNKNOWN: Final = "UNKNOWN"  # the SMSC lost track: any other word says more
_ERROR: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_LONGEST_STATE: Final = 32
# A payload may have 64 KiB. A receipt's text is far shorter, and is decoded in several ways.
_LONGEST_TEXT: Final = 2000

Kind = Literal["receipt", "intermediate", "unreadable", "message"]


class Delivered(NamedTuple):
    """The kind of a delivery, and its receipt if it has one. `reason`: why it has none, although it may be a receipt;
    `hint`: the settings, without the operator's prefix, that would read it."""

    kind: Kind
    receipt: Receipt | None = None
    reason: str = ""
    hint: str = ""


class _Unreadable(Exception):
    """Arguments: the reason, and the settings that would read the receipt"""


class _Found(NamedTuple):
    """What a receipt says. `state`: the operator's word."""

    id: str
    status: State
    state: str
    fields: Fields


class ReceiptReader:
    """Reads the receipts of one operator."""

    def __init__(self, settings: SmppOperator) -> None:
        self._settings = settings
        self._ids = MessageIds(
            notation=settings.receipt_ids, parameter=settings.tlv_ids, comparison=settings.id_comparison
        )
        self._words = StatusWords(settings.receipt_statuses)
        self._zone = zoneinfo.ZoneInfo(settings.receipt_zone) if settings.receipt_zone else None
        self._kept = {int(tag, 16) for tag in settings.receipt_tlvs}

    def submitted_id(self, written: str) -> str:
        """The id in a submit_sm_resp in the form that is stored; empty if it cannot be stored."""
        return self._ids.answered(_id(written.encode("latin-1", "replace")))

    def read(self, delivery: Delivery) -> Delivered:
        """Read a delivery. Never raises: every one must be answered."""
        kind = delivery.esm_class & _TYPE
        is_marked = kind in (_RECEIPT, _NOTIFICATION) or pdu.TLV_RECEIPTED_MESSAGE_ID in delivery.tlvs
        if not is_marked and kind != _PLAIN:
            return Delivered("message")
        try:
            found = self._find(delivery)
        except _Unreadable as fault:
            return Delivered("unreadable", None, *fault.args) if is_marked else Delivered("message")
        if not is_marked and self._settings.receipts_unmarked == "off":
            reason = "it looks like a receipt, but its esm_class says that it is a message from a phone"
            return Delivered("message", None, reason, "RECEIPTS_UNMARKED=on")
        status: State = INTERMEDIATE if kind == _NOTIFICATION else found.status
        receipt = Receipt(
            reference=None,
            operator_message_id=found.id,
            status=status,
            error="" if status == statuses.DELIVERED else _error(delivery.tlvs, found.fields),
            at=self._moment(found.fields.done_date),
            state=found.state[:_LONGEST_STATE],
            tlvs={f"0x{tag:04X}": value.hex() for tag, value in delivery.tlvs.items() if tag in self._kept},
        )
        return Delivered("intermediate" if status == INTERMEDIATE else "receipt", receipt)

    def _find(self, delivery: Delivery) -> _Found:
        """Raises _Unreadable."""
        source = self._settings.receipt_source
        tlvs = {} if source == "text" else delivery.tlvs
        parameter = _id(tlvs.get(pdu.TLV_RECEIPTED_MESSAGE_ID, b""))
        fields = self._fields(delivery)
        if source == "parameters" and parameter:
            fields = fields._replace(id="")
        if fields.conflict:
            raise _Unreadable(f"its text has two values of {fields.conflict}", "")
        status, state = self._status(tlvs, fields)
        found = self._ids.receipted(parameter=parameter, text=fields.id)
        if isinstance(found, IdFault):
            raise _Unreadable(found.reason, found.hint)
        if not found:
            raise _Unreadable("it has no id of a message", "")
        return _Found(found, status, state, fields)

    def _fields(self, delivery: Delivery) -> Fields:
        """The fields of the text, in the decoding that yields an id and a status, or else the most."""
        best, best_score = Fields(), 0
        for text in readings(
            delivery.content[:_LONGEST_TEXT], data_coding=delivery.data_coding, alphabet=self._settings.receipt_alphabet
        ):
            fields = fields_of(text)
            if has_control_characters(fields.id) or has_control_characters(fields.stat):
                continue
            has_word = self._words.meaning(fields.stat) is not None
            if fields.id and has_word:
                return fields
            score = 2 * bool(fields.id) + bool(fields.stat) + 2 * has_word
            if score > best_score:
                best, best_score = fields, score
        return best

    def _status(self, tlvs: dict[int, bytes], fields: Fields) -> tuple[State, str]:
        """The status, and the word for it: of the parameter and the text, which must not contradict each other.

        Raises _Unreadable.
        """
        state, word = _state(tlvs), fields.stat.upper()
        of_parameter, of_text = self._meaning(state), self._meaning(word)
        if of_parameter and (not word or self._settings.receipt_source == "parameters"):
            return of_parameter, state
        if of_text is None:
            if of_parameter and state != _UNKNOWN:
                return of_parameter, word
            if not word:
                raise _Unreadable("it has no status", "")
            raise _Unreadable(f"its status {fields.stat[:40]!r} is not known", f"RECEIPT_STATUSES={word[:40]}=…")
        if of_parameter is None or of_text == of_parameter or state == _UNKNOWN:
            return of_text, word
        if word.startswith(_UNKNOWN):
            return of_parameter, state
        if {of_text, of_parameter} & {statuses.DELIVERED, INTERMEDIATE}:
            raise _Unreadable(
                f"message_state means {state} and its text {fields.stat[:40]!r}",
                "RECEIPT_SOURCE=parameters or RECEIPT_SOURCE=text",
            )
        return of_parameter, word  # two kinds of failure: the standard's parameter is the more exact

    def _meaning(self, word: str) -> State | None:
        meaning = self._words.meaning(word) if word else None
        return INTERMEDIATE if meaning == "ignored" else meaning

    def _moment(self, done: str) -> int:
        """The done date in milliseconds since 1970. Falls back to now if it is missing, invalid, in the future, or
        without a zone."""
        now = time.time_ns() // 1_000_000
        moment = moment_of(done, zone=self._zone, now=now)
        return now if moment is None else max(0, min(now, moment))


def _state(tlvs: dict[int, bytes]) -> str:
    """The word for the parameter message_state; empty if it is missing or not known."""
    value = tlvs.get(pdu.TLV_MESSAGE_STATE, b"")
    octets = value.rstrip(b"\0") or value  # some write it in two octets
    return _STATES.get(octets[-1], "") if octets else ""


def _error(tlvs: dict[int, bytes], fields: Fields) -> str:
    """The error in the text, as written; or else the network's error code, without the octet of the network type."""
    if _ERROR.fullmatch(fields.err):
        return fields.err
    network = tlvs.get(pdu.TLV_NETWORK_ERROR_CODE, b"")
    return str(int.from_bytes(network[1:3])) if len(network) == 3 else ""


def _id(octets: bytes) -> str:
    """An id in a parameter or response: up to the first NUL, without blanks around it; in the GSM alphabet if it has
    control codes, as its underscore is one."""
    text = octets.partition(b"\0")[0].strip(b" \t\r\n")
    written = text.decode("latin-1")
    return gsm7.decode(text) if has_control_characters(written) else written
