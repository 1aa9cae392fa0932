"""The operators' HTTP APIs, from the operator's side. The gateway's side is in `apps.sms.operators`."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol

import msgspec

Refusal = Literal["rejected", "transient", "throttled", "unauthorized", "malformed"]


class Submit(NamedTuple):
    """A message as the gateway submits it."""

    reference: str
    sender: str
    recipient: str
    text: str


class Reply(NamedTuple):
    """An HTTP answer: its status and JSON body."""

    status: int
    body: dict[str, Any]


class Dialect(Protocol):
    """The requests, answers and receipts of one operator's API."""

    name: ClassVar[str]
    path: ClassVar[str]

    def read(self, body: bytes) -> Submit:
        """The submit in a request's body. Raises msgspec.MsgspecError."""
        ...

    def accept(self, operator_message_id: str) -> Reply: ...

    def refuse(self, why: Refusal) -> Reply: ...

    def receipt(self, submit: Submit, operator_message_id: str, *, delivered: bool, at: float) -> dict[str, Any]:
        """The body of a delivery receipt. `at` is Unix time in seconds."""
        ...


class _MciSubmit(msgspec.Struct):
    reference: str
    sender: str
    recipient: str
    text: str
    coding: Literal["gsm7", "ucs2"]


class MciDialect:
    """Errors are HTTP statuses."""

    name: ClassVar[str] = "mci"
    path: ClassVar[str] = "/mci/v1/messages"
    _refusals: ClassVar[dict[Refusal, tuple[int, str]]] = {
        "rejected": (422, "recipient_barred"),
        "transient": (503, "unavailable"),
        "throttled": (429, "too_many_messages"),
        "unauthorized": (401, "wrong_token"),
        "malformed": (400, "malformed"),
    }

    def read(self, body: bytes) -> Submit:
        sent = msgspec.json.decode(body, type=_MciSubmit)
        return Submit(sent.reference, sent.sender, sent.recipient, sent.text)

    def accept(self, operator_message_id: str) -> Reply:
        return Reply(202, {"messageId": operator_message_id})

    def refuse(self, why: Refusal) -> Reply:
        status, code = self._refusals[why]
        return Reply(status, {"error": {"code": code, "message": f"The message was not taken: {why}."}})

    def receipt(self, submit: Submit, operator_message_id: str, *, delivered: bool, at: float) -> dict[str, Any]:
        return {
            "reference": submit.reference,
            "messageId": operator_message_id,
            "status": "DELIVRD" if delivered else "UNDELIV",
            "error": "" if delivered else "absent_subscriber",
            "doneAt": int(at * 1000),
        }


class _IrancellSubmit(msgspec.Struct, rename={"client_ref": "clientRef"}):
    client_ref: str
    src: str
    dst: str
    body: str
    dcs: Literal[0, 8]


class IrancellDialect:
    """Most errors are a number in the body of an HTTP 200."""

    name: ClassVar[str] = "irancell"
    path: ClassVar[str] = "/irancell/sms/submit"
    _refusals: ClassVar[dict[Refusal, tuple[int, int]]] = {
        "rejected": (200, 31),
        "transient": (200, 11),
        "throttled": (429, 20),
        "unauthorized": (401, 40),
        "malformed": (200, 30),
    }

    def read(self, body: bytes) -> Submit:
        sent = msgspec.json.decode(body, type=_IrancellSubmit)
        return Submit(sent.client_ref, sent.src, sent.dst, sent.body)

    def accept(self, operator_message_id: str) -> Reply:
        return Reply(200, {"status": 0, "id": operator_message_id})

    def refuse(self, why: Refusal) -> Reply:
        status, code = self._refusals[why]
        return Reply(status, {"status": code})

    def receipt(self, submit: Submit, operator_message_id: str, *, delivered: bool, at: float) -> dict[str, Any]:
        return {
            "clientRef": submit.reference,
            "id": operator_message_id,
            "state": 2 if delivered else 5,
            "err": "" if delivered else "027",
            "ts": int(at),
        }


DIALECTS: Final[tuple[Dialect, ...]] = (MciDialect(), IrancellDialect())
