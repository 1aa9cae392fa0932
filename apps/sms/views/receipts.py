"""Delivery receipts from operators over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from apps.sms.messages.selectors import message_missing
from apps.sms.operators import registry
from apps.sms.operators.base import InvalidReceipt, ReadReceipt, Receipt
from apps.sms.receipts.access import SIGNATURE_HEADER, authorize, check_signature, query_without_token
from apps.sms.receipts.matching import Outcome, Received, receipt_record, receipts_record_each
from apps.sms.receipts.requests import content_type_of, query_of, receipt_document, signed_part
from apps.sms.receipts.unread import unread_keep
from apps.sms.views.openapi import receipts as openapi
from smsgateway import event_loop, json
from smsgateway.errors import GatewayError, UnsupportedMediaType
from smsgateway.http.request_body import unpacked_body
from smsgateway.http.views import JsonView, client_address, json_response, request_id_of
from smsgateway.metrics import RECEIPTS_UNREADABLE

log = structlog.get_logger(__name__)

_SIGNATURE: Final = "HTTP_" + SIGNATURE_HEADER.upper().replace("-", "_")
_RECORDED: Final = json.encode({"status": "recorded"})
_IGNORED: Final = json.encode({"status": "ignored"})


class ReceiptView(JsonView):
    """`/v1/operators/{name}/receipts`: an operator's delivery receipts. They are stored before the response.

    `POST` with a JSON document or a form, or `GET` with the same fields in the query.
    """

    on_loop = frozenset(("POST", "GET"))
    http_method_names = ["get", "post", "options"]  # not HEAD, for which Django would call `get`

    @openapi.RECEIPT_IN_QUERY
    def get(self, request: HttpRequest, operator: str) -> HttpResponse:
        return self._receive(request, operator, body=b"")

    @openapi.RECEIPT
    def post(self, request: HttpRequest, operator: str) -> HttpResponse:
        return self._receive(request, operator)

    def _receive(self, request: HttpRequest, operator: str, *, body: bytes | None = None) -> HttpResponse:
        config = settings.CONFIG
        allowed = authorize(
            operator=operator,
            address=client_address(request, trusted_proxies=config.receipts.trusted_proxies),
            authorization=request.META.get("HTTP_AUTHORIZATION", ""),
            query=query_of(request),
            config=config,
        )
        RECEIPTS_UNREADABLE.labels(operator)  # so that the first one is an increase
        body = unpacked_body(request) if body is None else body
        check_signature(
            body=signed_part(request, body),
            signature=request.META.get(_SIGNATURE, ""),
            secret=allowed.receipt_secret,
        )
        try:
            read = registry.shared_operators(config)[operator].read_receipts(receipt_document(request, body))
            found = [_require_key(receipt) for receipt in read]
            if len(found) == 1:
                _receive_one(found[0], operator, request_id_of(request))
            else:
                event_loop.in_thread(_receive_many, found, operator, request_id_of(request))
        except (InvalidReceipt, UnsupportedMediaType) as fault:
            # Most operators do not send it again, or send it again as it is.
            keep = partial(
                unread_keep,
                operator=operator,
                method=str(request.method),
                content_type=content_type_of(request),
                query=query_without_token(query_of(request), settings=allowed),
                body=body,
                fault=fault,
                request_id=request_id_of(request),
            )
            event_loop.in_thread(keep)
            raise
        response = json_response(_RECORDED if any(receipt is not None for receipt in found) else _IGNORED)
        response["Cache-Control"] = "no-store"
        return response


def _require_key(receipt: ReadReceipt) -> ReadReceipt:
    """The receipt, or an error if it has no id to match a message by."""
    if isinstance(receipt, Receipt) and receipt.reference is None and not receipt.operator_message_id:
        return InvalidReceipt("The receipt has neither our reference nor the operator's id.", errors=[])
    return receipt


def _receive_one(receipt: ReadReceipt, operator: str, request_id: str) -> None:
    """Record one receipt. Raises its error."""
    if isinstance(receipt, InvalidReceipt):
        raise receipt
    if receipt is None:
        return
    outcome = receipt_record(Received(operator, receipt, request_id))
    if outcome == "unknown" and receipt.reference is not None:
        raise event_loop.in_thread(partial(message_missing, message_id=receipt.reference))


def _receive_many(receipts: Sequence[ReadReceipt], operator: str, request_id: str) -> None:
    """Record every valid receipt. Raises InvalidReceipt that names the others."""
    errors: list[dict[str, str]] = []
    usable: list[tuple[int, Receipt]] = []
    for position, receipt in enumerate(receipts):
        if isinstance(receipt, InvalidReceipt):
            errors += _errors_of(position, receipt)
        elif receipt is not None:
            usable.append((position, receipt))
    outcomes = receipts_record_each(batch=[Received(operator, receipt, request_id) for _, receipt in usable])
    for (position, receipt), outcome in zip(usable, outcomes, strict=True):
        if fault := _fault(receipt, outcome):
            errors += _errors_of(position, fault)
    if errors:
        wrong = len({error["field"].partition(".")[0] for error in errors})
        log.warning("receipts_refused", operator=operator, receipts=len(receipts), refused=wrong)
        detail = f"{len(receipts) - wrong} of {len(receipts)} receipts were recorded; the others are invalid."
        raise InvalidReceipt(detail, errors=errors)


def _fault(receipt: Receipt, outcome: Outcome | Exception) -> GatewayError | None:
    if isinstance(outcome, Exception):
        return InvalidReceipt("The receipt cannot be stored.", errors=[])
    if outcome == "unknown" and receipt.reference is not None:
        return message_missing(message_id=receipt.reference)
    return None


def _errors_of(position: int, fault: GatewayError) -> list[dict[str, str]]:
    """The errors of one of several receipts, with the receipt's position before the name of each field."""
    errors = getattr(fault, "errors", None) or [{"field": "", "code": fault.code, "reason": str(fault)}]
    return [error | {"field": f"{position}.{error['field']}".rstrip(".")} for error in errors]
