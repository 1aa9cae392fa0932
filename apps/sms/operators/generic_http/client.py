"""An operator whose HTTP API is described by settings: what is sent, and what the answers and receipts mean."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import Final, cast
from urllib.parse import urlencode

import msgspec

from apps.sms import encoding
from apps.sms.events import DeliveryRequested
from apps.sms.operators.base import (
    ErrorCode,
    InvalidReceipt,
    Limits,
    OperatorMessageId,
    PermanentSubmitError,
    Receipt,
    ReceiptSink,
    ReceiptStatus,
    Submission,
    SubmitError,
    Throttled,
    TransientSubmitError,
    UnixMilliseconds,
)
from apps.sms.operators.generic_http import mapping
from apps.sms.operators.http import HttpAnswer, HttpConnections
from smsgateway import ids
from smsgateway.config import HttpOperator

_CONTENT_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
_DATA_CODING: Final = {encoding.GSM7: 0, encoding.UCS2: 8}
_NOT_JSON: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class GenericHttp:
    """See `apps.sms.operators.base.Operator`."""

    def __init__(self, name: str, settings: HttpOperator) -> None:
        self.limits = Limits(in_flight=settings.in_flight, segments_per_second=settings.segments_per_second)
        self._name = name
        self._settings = settings
        self._template = msgspec.json.decode(settings.body or "{}")
        headers = dict(msgspec.json.decode(settings.headers or "{}", type=dict[str, str]))
        if settings.token:
            headers.setdefault("Authorization", f"Bearer {settings.token}")
        if settings.method != "GET":
            headers.setdefault("Content-Type", _CONTENT_TYPES[settings.body_format])
        self._statuses = dict(entry.rsplit("=", 1) for entry in settings.receipt_statuses)
        self._connections = HttpConnections(connections=settings.in_flight, timeout=settings.timeout, headers=headers)

    @property
    def name(self) -> str:
        return self._name

    async def start(self, receipts: ReceiptSink) -> None:
        pass

    @property
    def is_connected(self) -> bool:
        return True

    async def submit(self, message: DeliveryRequested) -> Submission:
        values = _values(message)
        body = None
        if self._settings.method != "GET":
            filled = mapping.fill(self._template, values)
            json = self._settings.body_format == "json"
            body = msgspec.json.encode(filled) if json else _form(cast(dict[str, object], filled))
        url = mapping.fill_url(self._settings.url, values)
        answer = await self._connections.request(self._settings.method, url, body)
        return Submission(self._taken(answer))

    def _taken(self, answer: HttpAnswer) -> str:
        """The operator's id. Raises SubmitError if the answer is not that the message was taken."""
        settings = self._settings
        document = _document(answer.body) if settings.answer == "json" else None
        code = mapping.find(document, settings.code_path) if settings.code_path else None
        if not 200 <= answer.status < 300 or (settings.code_path and code not in settings.code_ok):
            raise self._error(answer, code)
        found = mapping.find(document, settings.id_path) if settings.answer == "json" else _plain(answer.body)
        try:
            return msgspec.convert(found, OperatorMessageId)
        except msgspec.ValidationError:
            raise TransientSubmitError("invalid_answer") from None

    def _error(self, answer: HttpAnswer, code: str | None) -> SubmitError:
        """What an answer means: its code first, where the settings name it, then its HTTP status."""
        settings = self._settings
        status = f"http_{answer.status}"
        for said in (code, status, f"http_{answer.status // 100}xx"):
            if said is None or (said == code and code in settings.code_ok):
                continue
            if said in settings.permanent:
                return PermanentSubmitError((code or status)[:64])
            if said in settings.throttled:
                return Throttled(retry_after=answer.retry_after)
            if said in settings.transient:
                # The operator's own code may be about the message alone; a status says itself what it concerns.
                of_status = said.startswith("http_")
                return TransientSubmitError(
                    status if of_status else said,
                    retry_after=answer.retry_after,
                    concerns=None if of_status else "unclear",
                )
        if 200 <= answer.status < 300 and code is None:
            return TransientSubmitError("invalid_answer")
        return PermanentSubmitError((code or status)[:64])

    def parse_receipt(self, body: bytes) -> Receipt | None:
        settings = self._settings
        try:
            document = msgspec.json.decode(body)
        except _NOT_JSON:
            document = None
        if not isinstance(document, dict):
            raise _invalid([_wrong("", "malformed_json", "The body must be a JSON object.")])
        errors: list[dict[str, str]] = []

        def take(path: str, kind: object) -> str:
            found = mapping.find(document, path)
            if found is None:
                errors.append(_wrong(path, "missing", "This field is required."))
                return ""
            try:
                return cast(str, msgspec.convert(found, kind))
            except msgspec.ValidationError as fault:
                errors.append(_wrong(path, "invalid", f"{fault}."))
                return ""

        meaning = self._statuses.get(told := take(settings.receipt_status, str))
        if told and meaning is None:
            known = ", ".join(self._statuses)
            errors.append(_wrong(settings.receipt_status, "invalid", f"It is none of {known}."))
        if meaning == "ignored" and not errors:
            return None
        operator_message_id = take(settings.receipt_id, OperatorMessageId)
        reference = None
        if settings.receipt_reference:
            try:
                reference = ids.from_text(take(settings.receipt_reference, str))
            except ValueError:
                if not any(error["field"] == settings.receipt_reference for error in errors):
                    errors.append(_wrong(settings.receipt_reference, "invalid", "It is no reference of ours."))
        error = mapping.find(document, settings.receipt_error) if settings.receipt_error else None
        at = self._moment(document, errors)
        if errors:
            raise _invalid(errors)
        try:
            error = msgspec.convert(error or "", ErrorCode)
        except msgspec.ValidationError as fault:
            raise _invalid([_wrong(settings.receipt_error, "invalid", f"{fault}.")]) from None
        return Receipt(
            reference=reference,
            operator_message_id=operator_message_id,
            status=cast(ReceiptStatus, meaning),
            error=error,
            at=at,
        )

    def _moment(self, document: object, errors: list[dict[str, str]]) -> int:
        """When it happened, in milliseconds since 1970; what is wrong of it goes to `errors`."""
        settings = self._settings
        if not settings.receipt_time:
            return time.time_ns() // 1_000_000
        told = mapping.find(document, settings.receipt_time)
        try:
            return msgspec.convert(_milliseconds(told or "", settings.receipt_time_format), UnixMilliseconds)
        except (ValueError, OverflowError):  # msgspec's own error is a ValueError
            reason = f"It must be a time ({settings.receipt_time_format}) between 2000 and 2100."
            errors.append(_wrong(settings.receipt_time, "invalid" if told else "missing", reason))
            return 0

    async def close(self) -> None:
        await self._connections.close()


def _values(message: DeliveryRequested) -> mapping.Values:
    return {
        "reference": message.message_id,
        "sender": message.sender,
        "recipient": message.to,
        "recipient_digits": message.to.removeprefix("+"),
        "text": message.text,
        "encoding": message.encoding,
        "dcs": _DATA_CODING[message.encoding],
        "segments": message.segments,
        "validity": max(1, message.expires_at // 1000 - int(time.time())),
    }


def _form(fields: dict[str, object]) -> bytes:
    texts = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in fields.items()
    }
    return urlencode(texts).encode()


def _document(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except _NOT_JSON:
        return None


def _plain(body: bytes) -> str:
    return body[:100].decode("utf-8", "replace").strip()


def _milliseconds(told: str, form: str) -> int:
    """Raises ValueError."""
    if form == "iso":
        moment = dt.datetime.fromisoformat(told)
        if moment.tzinfo is None:
            raise ValueError("a time without its offset")
        return int(moment.timestamp() * 1000)
    if not re.fullmatch(r"[0-9]{1,15}", told):
        raise ValueError("no whole number")
    return int(told) * (1000 if form == "unix" else 1)


def _wrong(field: str, code: str, reason: str) -> dict[str, str]:
    return {"field": field, "code": code, "reason": reason}


def _invalid(errors: list[dict[str, str]]) -> InvalidReceipt:
    return InvalidReceipt("The operator sent a receipt that cannot be read.", errors=errors)
