"""Irancell's HTTP API.

Submit: `POST /irancell/sms/submit` with `{"clientRef", "src", "dst", "body", "dcs"}` answers
`{"status", "id"}`: `status` is 0 or an error's number, even with HTTP 200. `dcs` is the data coding scheme
(3GPP TS 23.038).
Receipts carry `{"clientRef", "id", "state", "err", "ts"}`: `state` is numbered as in SMPP 3.4, section
5.2.28, and `ts` is in seconds since 1970.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal, Self

import msgspec

from apps.sms import encoding, statuses
from apps.sms.events import DeliveryRequested, ReceiptUnread
from apps.sms.operators import documents
from apps.sms.operators.base import (
    ErrorCode,
    Limits,
    OperatorMessageId,
    PermanentSubmitError,
    QueueFull,
    ReadReceipt,
    Receipt,
    ReceiptSink,
    ReceiptStatus,
    Reference,
    Submission,
    Throttled,
    TransientSubmitError,
    decode_receipts,
    receipt_moment,
)
from apps.sms.operators.http import Fault, JsonApi, submission_of
from apps.sms.operators.receipt_bodies import read_document_again
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.config import Operator as OperatorSettings

_DATA_CODING: Final = {encoding.GSM7: 0, encoding.UCS2: 8}

_OK: Final = 0
_THROTTLED: Final = 20
_QUEUE_FULL: Final = 12  # of this number
_OUT_OF_SERVICE: Final = 11
# Any other status refuses the message for good.


class _Receipt(msgspec.Struct, rename={"client_ref": "clientRef"}):
    client_ref: Reference
    id: OperatorMessageId
    state: Literal[2, 3, 5, 8]
    ts: int
    err: ErrorCode = ""


_STATUSES: Final[dict[int, ReceiptStatus]] = {
    2: statuses.DELIVERED,
    3: statuses.EXPIRED,
    5: statuses.UNDELIVERED,
    8: statuses.REJECTED,
}


class Irancell:
    """See `apps.sms.operators.base.Operator`."""

    name: ClassVar[str] = "irancell"
    carriers: ClassVar[frozenset[str]] = frozenset({"Irancell"})

    def __init__(self, settings: OperatorSettings) -> None:
        self.limits = Limits(in_flight=settings.in_flight, segments_per_second=settings.segments_per_second)
        self._api = JsonApi(settings)

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return cls(config.irancell)

    async def start(self, receipts: ReceiptSink) -> None:
        pass

    @property
    def is_connected(self) -> bool:
        return True

    async def submit(self, message: DeliveryRequested) -> Submission:
        answer = await self._api.post(
            "/irancell/sms/submit",
            {
                "clientRef": message.message_id,
                "src": message.sender,
                "dst": message.to,
                "body": message.text,
                "dcs": _DATA_CODING[message.encoding],
            },
        )
        document = answer.document()
        found, code = documents.find(document, "id"), documents.find(document, "status")
        fault: Fault = "no_document" if document is None else ""
        if code is None or not re.fullmatch(r"-?[0-9]{1,9}", code):
            if not answer.is_success:
                raise TransientSubmitError("invalid_answer")  # not the operator's own words
            fault = fault or "no_code"
        elif int(code) == _THROTTLED:
            raise Throttled
        elif int(code) == _QUEUE_FULL:
            raise QueueFull(code)
        elif int(code) == _OUT_OF_SERVICE:
            raise TransientSubmitError(code)
        elif int(code) != _OK:
            raise PermanentSubmitError(code)
        elif not answer.is_success:
            raise TransientSubmitError("invalid_answer")
        return submission_of(answer, found, operator=self.name, message_id=message.message_id, fault=fault)

    def read_receipts(self, document: object) -> list[ReadReceipt]:
        return decode_receipts(document, _Receipt, _read)

    def read_unread(self, unread: ReceiptUnread) -> list[ReadReceipt]:
        return read_document_again(self, unread)

    async def close(self) -> None:
        await self._api.close()


def _read(receipt: _Receipt) -> Receipt:
    return Receipt(
        reference=ids.from_text(receipt.client_ref),
        operator_message_id=receipt.id,
        status=_STATUSES[receipt.state],
        error=receipt.err,
        at=receipt_moment(receipt.ts * 1000),
    )
