"""What an operator's settings make of a pasted answer or receipt: nothing is stored and nothing is sent.

For the console, which tries a mapping before it is saved, and for `manage.py try_receipt`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from apps.sms import events
from apps.sms.operators.base import InvalidReceipt, ReadReceipt, Receipt, SubmitError
from apps.sms.operators.generic_http import GenericHttp
from apps.sms.operators.http import HttpAnswer, usable_id
from smsgateway.config import HttpOperator, SmppOperator

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}[\s:]*)+")
_TRY: Final = "try"


class Reading(NamedTuple):
    """What would be read. `facts`: (name, value) pairs; `reason`: why nothing would be, `hint`: the settings, without
    the operator's prefix, that would read it."""

    facts: list[tuple[str, str]]
    reason: str = ""
    hint: str = ""


def receipt_preview(
    settings: SmppOperator | HttpOperator, pasted: str | bytes, *, content_type: str = "", query: str = ""
) -> list[Reading]:
    """What the settings make of a receipt: the octets of a PDU in hexadecimal, the text of a deliver_sm, or the body or
    query of a request."""
    if isinstance(settings, SmppOperator):
        return [_of_smpp(settings, pasted)]
    body = pasted.encode() if isinstance(pasted, str) else pasted
    method = "GET" if query and not body else "POST"
    unread = events.ReceiptUnread(
        operator=_TRY,
        protocol="http",
        octets=body,
        method=method,
        content_type=content_type,
        query=query,
        reason="",
        at=0,
    )
    try:
        return [_of_receipt(one) for one in GenericHttp(_TRY, settings).read_unread(unread)]
    except InvalidReceipt as fault:
        return [_of_receipt(fault)]


def answer_preview(settings: HttpOperator, body: bytes, *, status: int = 200, charset: str = "") -> Reading:
    """What the settings make of the answer to a submit."""
    try:
        found, fault = GenericHttp(_TRY, settings).read_answer(HttpAnswer(status, body, None, charset))
    except SubmitError as error:
        kind = {"PermanentSubmitError": "refused", "Throttled": "throttled", "QueueFull": "queue full"}
        return Reading([("outcome", kind.get(type(error).__name__, "tried again")), ("code", error.code)])
    operator_message_id = usable_id(found)
    facts = [("outcome", "accepted"), ("operator_message_id", operator_message_id)]
    return Reading(facts, "" if operator_message_id and not fault else f"its id cannot be read ({fault or 'no_id'})")


def _of_smpp(settings: SmppOperator, pasted: str | bytes) -> Reading:
    # Only SMPP operators need its codec.
    from apps.sms.operators.smpp.deliveries import BrokenDelivery, Delivery, delivery_of
    from apps.sms.operators.smpp.receipts import ReceiptReader

    try:
        if isinstance(pasted, str) and _HEX.fullmatch(pasted.strip()):
            delivery = delivery_of(bytes.fromhex(re.sub(r"[\s:]", "", pasted)))
        elif isinstance(pasted, bytes) and int.from_bytes(pasted[:4]) == len(pasted):
            delivery = delivery_of(pasted)
        else:
            content = pasted.encode("latin-1", "replace") if isinstance(pasted, str) else pasted
            delivery = Delivery(esm_class=4, data_coding=0, content=content, tlvs={})
    except BrokenDelivery as fault:
        return Reading([], f"the PDU is damaged: {fault}")
    read = ReceiptReader(settings).read(delivery)
    parts = [
        ("kind", read.kind),
        ("esm_class", f"0x{delivery.esm_class:02X}"),
        ("data_coding", f"0x{delivery.data_coding:02X}"),
        ("text", delivery.content.decode("latin-1")),
        *((f"parameter 0x{tag:04X}", _shown(value)) for tag, value in sorted(delivery.tlvs.items())),
    ]
    if read.receipt is None:
        return Reading(parts, read.reason or "it is a message from a phone", read.hint)
    return Reading([*parts, *_facts(read.receipt)])


def _of_receipt(read: ReadReceipt) -> Reading:
    if read is None:
        return Reading([("status", "ignored")])
    if isinstance(read, InvalidReceipt):
        wrong = [(error["field"] or "body", error["reason"]) for error in read.errors]
        return Reading(wrong, str(read), read.hint)
    return Reading(_facts(read))


def _facts(receipt: Receipt) -> list[tuple[str, str]]:
    return [
        ("status", receipt.status),
        ("operator_message_id", receipt.operator_message_id),
        ("reference", str(receipt.reference or "")),
        ("state", receipt.state),
        ("error", receipt.error),
        ("at", str(receipt.at)),
        *((f"kept {tag}", value) for tag, value in receipt.tlvs.items()),
    ]


def _shown(value: bytes) -> str:
    """A parameter's octets, with their text if they are one."""
    text = value.rstrip(b"\0").decode("latin-1")
    return f"{value.hex()} ({text})" if text and text.isprintable() else value.hex()
