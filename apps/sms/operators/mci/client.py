"""MCI's HTTP API.

Submit: `POST /mci/v1/messages` with `{"reference", "sender", "recipient", "text", "coding"}` answers 202 with
`{"messageId"}`, or a 4xx with `{"error": {"code", "message"}}`.
Receipts carry `{"reference", "messageId", "status", "error", "doneAt"}`, `doneAt` in milliseconds since 1970.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, Self

import msgspec

from apps.sms import statuses
from apps.sms.events import DeliveryRequested
from apps.sms.operators.base import (
    ErrorCode,
    Limits,
    OperatorMessageId,
    PermanentSubmitError,
    Receipt,
    ReceiptSink,
    ReceiptStatus,
    Reference,
    Submission,
    UnixMilliseconds,
    decode_receipt,
)
from apps.sms.operators.http import JsonApi
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.config import Operator as OperatorSettings


class _Accepted(msgspec.Struct, rename="camel"):
    message_id: OperatorMessageId


class _Error(msgspec.Struct):
    code: ErrorCode


class _Refused(msgspec.Struct):
    error: _Error


class _Receipt(msgspec.Struct, rename="camel"):
    reference: Reference
    message_id: OperatorMessageId
    status: Literal["DELIVRD", "UNDELIV", "EXPIRED", "REJECTD"]
    done_at: UnixMilliseconds
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
        if answer.refused:
            raise PermanentSubmitError(answer.read(_Refused).error.code)
        return Submission(answer.read(_Accepted).message_id)

    def parse_receipt(self, body: bytes) -> Receipt:
        receipt = decode_receipt(body, _Receipt)
        return Receipt(
            reference=ids.from_text(receipt.reference),
            operator_message_id=receipt.message_id,
            status=_STATUSES[receipt.status],
            error=receipt.error,
            at=receipt.done_at,
        )

    async def close(self) -> None:
        await self._api.close()
