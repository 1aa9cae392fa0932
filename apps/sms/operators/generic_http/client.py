"""An operator whose HTTP API is described by settings: the request, and the meaning of answers and receipts."""

from __future__ import annotations

from typing import Final, cast
from urllib.parse import urlencode

import msgspec

from apps.sms.events import DeliveryRequested, ReceiptUnread
from apps.sms.operators import documents
from apps.sms.operators.base import (
    Limits,
    PermanentSubmitError,
    ReadReceipt,
    ReceiptSink,
    Submission,
    SubmitError,
    Throttled,
    TransientSubmitError,
)
from apps.sms.operators.generic_http.receipts import ReceiptReader
from apps.sms.operators.http import Fault, HttpAnswer, HttpConnections, error_code, submission_of
from apps.sms.operators.message_ids import MessageIds
from apps.sms.operators.placeholders import fill, fill_url, values_of
from apps.sms.operators.receipt_bodies import read_document_again
from smsgateway.config import HttpOperator

_CONTENT_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


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
        self._codes = _Codes(settings)
        self._ids = MessageIds(comparison=settings.id_comparison)
        self._receipts = ReceiptReader(settings)
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
        values = values_of(message)
        body = None
        if self._settings.method != "GET":
            filled = fill(self._template, values)
            json = self._settings.body_format == "json"
            body = msgspec.json.encode(filled) if json else _form(cast(dict[str, object], filled))
        url = fill_url(self._settings.url, values)
        answer = await self._connections.request(self._settings.method, url, body)
        found, fault = self.read_answer(answer)
        return submission_of(answer, found, operator=self._name, message_id=message.message_id, fault=fault)

    def read_answer(self, answer: HttpAnswer) -> tuple[str, Fault]:
        """The operator's id of an accepted message, empty if there is none, and what else the answer lacks.

        Raises SubmitError if the answer says that the message was not accepted.
        """
        settings = self._settings
        is_document = settings.answer != "text"
        document = answer.document(settings.answer) if is_document else None
        code = self._code(document) if settings.code_path else None
        fault: Fault = "no_document" if document is None and is_document else ""
        if not answer.is_success or (code is not None and code not in self._codes.ok):
            raise self._error(answer, code)
        if settings.code_path and code is None:
            if error := self._listed(answer, None):
                raise error
            fault = fault or "no_code"
        found = documents.find(document, settings.id_path) if is_document else answer.text
        return self._ids.answered(found or ""), fault

    def _code(self, document: object) -> str | None:
        """The code in an answer; None if it cannot be read. If the settings list `null`, a code that is null, empty or
        missing counts as `null`: some operators send a code only for errors."""
        null = "null" if document is not None and self._codes.has_null else None
        found = documents.find(document, self._settings.code_path, null=null)
        return documents.code_of(found) if found else null if found == "" else None

    def _error(self, answer: HttpAnswer, code: str | None) -> SubmitError:
        """The error that an answer means: by its code if the settings list it, or else by its HTTP status."""
        return self._listed(answer, code) or PermanentSubmitError(error_code(code or f"http_{answer.status}"))

    def _listed(self, answer: HttpAnswer, code: str | None) -> SubmitError | None:
        """The error of an answer whose code or status is in the settings' lists; None for any other."""
        codes, status = self._codes, f"http_{answer.status}"
        for said in (code, status, f"http_{answer.status // 100}xx"):
            if said is None or (said == code and code in codes.ok):
                continue
            if said in codes.permanent:
                return PermanentSubmitError(error_code(code or status))
            if said in codes.throttled:
                return Throttled(retry_after=answer.retry_after)
            if said in codes.transient:
                # The operator's own code may be about the message alone; for an HTTP status the code decides.
                of_status = said.startswith("http_")
                return TransientSubmitError(
                    status if of_status else said,
                    retry_after=answer.retry_after,
                    concerns=None if of_status else "unclear",
                )
        return None

    def read_receipts(self, document: object) -> list[ReadReceipt]:
        return self._receipts.read(document)

    def read_unread(self, unread: ReceiptUnread) -> list[ReadReceipt]:
        return read_document_again(self, unread)

    async def close(self) -> None:
        await self._connections.close()


def _form(fields: dict[str, object]) -> bytes:
    texts = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in fields.items()
    }
    return urlencode(texts).encode()


class _Codes:
    """The settings' codes, in the form for comparisons with an answer's code."""

    def __init__(self, settings: HttpOperator) -> None:
        self.ok = _comparable(settings.code_ok)
        self.permanent = _comparable(settings.permanent)
        self.throttled = _comparable(settings.throttled)
        self.transient = _comparable(settings.transient)
        self.has_null = "null" in self.ok | self.permanent | self.throttled | self.transient


def _comparable(codes: list[str]) -> frozenset[str]:
    return frozenset(documents.code_of(code) for code in codes)
