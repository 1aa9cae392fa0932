"""Receipts of an operator whose HTTP API is described by settings: one or many, in a JSON document or a form."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Final, cast

from apps.sms.operators import documents
from apps.sms.operators.base import (
    UNREADABLE_RECEIPT,
    ErrorCode,
    InvalidReceipt,
    OperatorMessageId,
    ReadReceipt,
    Receipt,
    ReceiptStatus,
    receipt_moment,
)
from apps.sms.operators.message_ids import MessageIds
from apps.sms.operators.status_words import StatusWords
from smsgateway import ids
from smsgateway.config import HttpOperator
from smsgateway.http.value_forms import wrong_value

# The usual words; the settings need not list them.
_USUAL: Final = StatusWords()
IGNORED: Final = "ignored"
# The usual names of the fields.
_LIKELY: Final = {
    "RECEIPT_ID": frozenset({"id", "messageid", "message_id", "msgid", "msg_id", "smsid", "message-id", "message.id"}),
    "RECEIPT_STATUS": frozenset({"status", "stat", "state", "dlrstatus", "dlr_status", "messagestatus"}),
}
# Systems without a time write 0000-00-00 00:00:00.
_NO_TIME: Final = re.compile(r"[0:TZ .+-]+")


class ReceiptReader:
    """Reads the receipts of one operator."""

    def __init__(self, settings: HttpOperator) -> None:
        self._settings = settings
        self._statuses = {
            documents.code_of(word): meaning
            for word, meaning in (entry.rsplit("=", 1) for entry in settings.receipt_statuses)
        }
        self._in_any_case = {word.lower(): meaning for word, meaning in self._statuses.items()}
        self._ids = MessageIds(comparison=settings.id_comparison)
        self._paths = [settings.receipt_status, settings.receipt_id]
        if settings.receipt_reference:
            self._paths.append(settings.receipt_reference)
        self._paths_by_setting = {settings.receipt_status: "RECEIPT_STATUS", settings.receipt_id: "RECEIPT_ID"}

    def read(self, document: object) -> list[ReadReceipt]:
        """See `apps.sms.operators.base.Operator.read_receipts`."""
        document = self._unwrap(document)
        if not isinstance(document, dict | list):
            raise _invalid([_wrong("", "malformed_json", "The body must be a JSON object, or a list of them.")])
        try:
            found = list(documents.elements(document, self._paths))
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
            raise _invalid([_wrong("", "malformed_json", f"The body cannot be read: {reason}.")]) from None
        if not found:
            raise _invalid([_wrong("", "malformed_json", "The body has no receipt.")])
        return [self._read(document, picks) for picks in found]

    def _unwrap(self, document: object) -> object:
        """The list or receipt in a document that wraps it, such as XML's root element, if no path of the settings fits
        the document itself."""
        if not isinstance(document, dict) or any(
            path in document or path.split(".")[0] in document for path in self._paths
        ):
            return document
        if len(document) == 1 and isinstance(inner := next(iter(document.values())), dict) and inner:
            return self._unwrap(inner)  # as deep as the document, which is bounded
        lists = [
            value
            for value in document.values()
            if isinstance(value, list) and value and all(isinstance(element, dict) for element in value)
        ]
        return lists[0] if len(lists) == 1 else document

    def _read(self, document: object, picks: documents.Picks) -> ReadReceipt:
        settings = self._settings
        errors: list[dict[str, str]] = []

        def take(path: str, kind: object) -> str:
            found = documents.find(document, path, picks)
            if not found:
                errors.append(_wrong(path, "missing", "This field is required."))
                return ""
            if "\ufffd" in found:
                errors.append(_wrong(path, "invalid", "It has octets that are not valid text."))
                return ""
            if wrong := wrong_value(path, found, kind):
                errors.append(wrong | {"code": "invalid"})
                return ""
            return found

        word = take(settings.receipt_status, str)
        meaning = self._statuses.get(documents.code_of(word)) or self._in_any_case.get(word.lower())
        meaning = meaning or _USUAL.meaning(word)
        hint = ""
        if word and meaning is None:
            known = ", ".join(self._statuses)
            errors.append(_wrong(settings.receipt_status, "invalid", f"It must be one of {known}."))
            hint = f"RECEIPT_STATUSES={word[:40]}=…"
        if meaning == IGNORED and not errors:
            return None
        operator_message_id = take(settings.receipt_id, OperatorMessageId)
        reference = None
        if settings.receipt_reference and (text := take(settings.receipt_reference, str)):
            try:
                reference = ids.from_text(text)
            except ValueError:
                errors.append(_wrong(settings.receipt_reference, "invalid", "It must be a message id of ours."))
        error = documents.find(document, settings.receipt_error, picks) if settings.receipt_error else None
        if wrong := wrong_value(settings.receipt_error, error or "", ErrorCode):
            errors.append(wrong | {"code": "invalid"})
        at = self._moment(lambda path: documents.find(document, path, picks), errors)
        if errors:
            return _invalid(errors, hint or _paths_hint(errors, document, self._paths_by_setting))
        return Receipt(
            reference=reference,
            operator_message_id=self._ids.answered(operator_message_id),
            status=cast(ReceiptStatus, meaning),
            error=error or "",
            at=at,
            state=word[:32],
        )

    def _moment(self, find: Callable[[str], str | None], errors: list[dict[str, str]]) -> int:
        """When it happened, in milliseconds since 1970. Adds a fault to `errors`."""
        settings = self._settings
        if not settings.receipt_time:
            return time.time_ns() // 1_000_000
        text = find(settings.receipt_time) or ""
        try:
            return receipt_moment(_milliseconds(text, settings.receipt_time_format))
        except (ValueError, OverflowError):
            reason = f"It must be a time ({settings.receipt_time_format})."
            errors.append(_wrong(settings.receipt_time, "invalid" if text else "missing", reason))
            return 0


def _milliseconds(text: str, form: str) -> int:
    """Milliseconds since 1970; 0 or less if the text stands for no time. Raises ValueError."""
    if form == "iso":
        if _NO_TIME.fullmatch(text):
            return 0
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("a time without its offset")
        return int(moment.timestamp() * 1000)
    if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", text):
        raise ValueError("no number")
    return int(Decimal(text) * (1000 if form == "unix" else 1))


def _wrong(field: str, code: str, reason: str) -> dict[str, str]:
    return {"field": field, "code": code, "reason": reason}


def _invalid(errors: list[dict[str, str]], hint: str = "") -> InvalidReceipt:
    fault = InvalidReceipt(UNREADABLE_RECEIPT, errors=errors)
    fault.hint = hint
    return fault


def _paths_hint(errors: list[dict[str, str]], document: object, settings: dict[str, str]) -> str:
    """For fields that are missing: the settings of their paths, with a path of the document that may be meant."""
    missing = [error["field"] for error in errors if error["code"] == "missing" and error["field"] in settings]
    found = []
    for path in missing:
        names = _LIKELY[settings[path]]
        likely = next((place for place in documents.paths(document) if place.split(".")[-1].lower() in names), None)
        found.append(f"{settings[path]}={likely or '…'}")
    return " and ".join(found)
