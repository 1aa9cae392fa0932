"""MCI's HTTP API.

Submit: `POST /mci/v1/messages` with `{"reference", "sender", "recipient", "text", "coding"}` answers 202 with
`{"messageId"}`, or a 4xx with `{"error": {"code", "message"}}`.
Receipts carry `{"reference", "messageId", "status", "error", "doneAt"}`, `doneAt` in milliseconds since 1970.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, Self

import msgspec

from apps.sms import statuses
from apps.sms.events import DeliveryRequested, ReceiptUnread
from apps.sms.operators import documents
from apps.sms.operators.base import (
    ErrorCode,
    Limits,
    OperatorMessageId,
    PermanentSubmitError,
    ReadReceipt,
    Receipt,
    ReceiptSink,
    ReceiptStatus,
    Reference,
    Submission,
    TransientSubmitError,
    decode_receipts,
    receipt_moment,
)
from apps.sms.operators.http import Fault, JsonApi, error_code, submission_of
from apps.sms.operators.receipt_bodies import read_document_again
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.config import Operator as OperatorSettings


class _Receipt(msgspec.Struct, rename="camel"):
    reference: Reference
    message_id: OperatorMessageId
    status: Literal["DELIVRD", "UNDELIV", "EXPIRED", "REJECTD"]
    done_at: int
    error: ErrorCode = ""


_STATUSES: Final[dict[str, ReceiptStatus]] = {
    "DELIVRD": statuses.DELIVERED,
    "UNDELIV": statuses.UNDELIVERED,
    "EXPIRED": statuses.EXPIRED,
    "REJECTD": statuses.REJECTED,
}


class Mci:
    """See `apps.sms.operators.base.Operator`."""

    name: ClassVar[str] = "mci"
    carriers: ClassVar[frozenset[str]] = frozenset({"IR-MCI"})

    def __init__(self, settings: OperatorSettings) -> None:
        self.limits = Limits(in_flight=settings.in_flight, segments_per_second=settings.segments_per_second)
        self._api = JsonApi(settings)

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return cls(config.mci)

    async def start(self, receipts: ReceiptSink) -> None:
        pass

    @property
    def is_connected(self) -> bool:
        return True

    async def submit(self, message: DeliveryRequested) -> Submission:
        answer = await self._api.post(
            "/mci/v1/messages",
            {
                "reference": message.message_id,
                "sender": message.sender,
                "recipient": message.to,
                "text": message.text,
                "coding": message.encoding,
            },
        )
        document = answer.document()
        found, code = documents.find(document, "messageId"), documents.find(document, "error.code")
        if code is not None and (found is None or not answer.is_success):
            raise PermanentSubmitError(error_code(code))
        if not answer.is_success:
            raise TransientSubmitError("invalid_answer")  # not the operator's own words
        fault: Fault = "no_document" if document is None else ""
        return submission_of(answer, found, operator=self.name, message_id=message.message_id, fault=fault)

    def read_receipts(self, document: object) -> list[ReadReceipt]:
        return decode_receipts(document, _Receipt, _read)

    def read_unread(self, unread: ReceiptUnread) -> list[ReadReceipt]:
        return read_document_again(self, unread)

    async def close(self) -> None:
        await self._api.close()


def _read(receipt: _Receipt) -> Receipt:
    return Receipt(
        reference=ids.from_text(receipt.reference),
        operator_message_id=receipt.message_id,
        status=_STATUSES[receipt.status],
        error=receipt.error,
        at=receipt_moment(receipt.done_at),
    )
