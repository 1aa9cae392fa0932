"""Irancell's HTTP API.

Submit: `POST /irancell/sms/submit` with `{"clientRef", "src", "dst", "body", "dcs"}` answers
`{"status", "id"}`: `status` is 0 or an error's number, even with HTTP 200. `dcs` is the data coding scheme
(3GPP TS 23.038).
Receipts carry `{"clientRef", "id", "state", "err", "ts"}`: `state` is numbered as in SMPP 3.4, section
5.2.28, and `ts` is in seconds since 1970.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, Self

import msgspec

from apps.sms import encoding, statuses
from apps.sms.events import DeliveryRequested
from apps.sms.operators.base import (
    ErrorCode,
    Limits,
    OperatorMessageId,
    PermanentSubmitError,
    QueueFull,
    Receipt,
    ReceiptSink,
    ReceiptStatus,
    Reference,
    Submission,
    Throttled,
    TransientSubmitError,
    UnixSeconds,
    decode_receipt,
)
from apps.sms.operators.http import JsonApi
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.config import Operator as OperatorSettings

_DATA_CODING: Final = {encoding.GSM7: 0, encoding.UCS2: 8}

_OK: Final = 0
_THROTTLED: Final = 20
_QUEUE_FULL: Final = 12  # of this number
_OUT_OF_SERVICE: Final = 11
# Every other status refuses the message for good.


class _Answer(msgspec.Struct):
    status: int
    id: OperatorMessageId | None = None


class _Receipt(msgspec.Struct, rename={"client_ref": "clientRef"}):
    client_ref: Reference
    id: OperatorMessageId
    state: Literal[2, 3, 5, 8]
    ts: UnixSeconds
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
        said = answer.read(_Answer)
        if said.status == _THROTTLED:
            raise Throttled
        if said.status == _QUEUE_FULL:
            raise QueueFull(str(said.status))
        if said.status == _OUT_OF_SERVICE:
            raise TransientSubmitError(str(said.status))
        if said.status != _OK:
            raise PermanentSubmitError(str(said.status))
        if answer.refused or said.id is None:
            raise TransientSubmitError("invalid_answer")
        return Submission(said.id)

    def parse_receipt(self, body: bytes) -> Receipt:
        receipt = decode_receipt(body, _Receipt)
        return Receipt(
            reference=ids.from_text(receipt.client_ref),
            operator_message_id=receipt.id,
            status=_STATUSES[receipt.state],
            error=receipt.err,
            at=receipt.ts * 1000,
        )

    async def close(self) -> None:
        await self._api.close()
