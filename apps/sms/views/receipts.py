"""Operators' delivery receipts."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from apps.sms import openapi
from apps.sms.operators import registry
from apps.sms.operators.base import InvalidReceipt
from apps.sms.receipt_access import SIGNATURE_HEADER, authorize, check_signature
from apps.sms.receipts import Received, receipt_record
from apps.sms.selectors import message_missing
from smsgateway import json
from smsgateway.http import JsonView, client_address, json_response, request_id_of
from smsgateway.request_body import in_utf_8, require_json, unpacked_body

_RECORDED: Final = json.encode({"status": "recorded"})
_IGNORED: Final = json.encode({"status": "ignored"})


class ReceiptView(JsonView):
    """`POST /v1/operators/{name}/receipts`: an operator's delivery receipt, durable before it is acknowledged."""

    @openapi.RECEIPT
    def post(self, request: HttpRequest, operator: str) -> HttpResponse:
        config = settings.CONFIG
        allowed = authorize(
            operator=operator,
            address=client_address(request, trusted_proxies=config.receipts.trusted_proxies),
            authorization=request.headers.get("Authorization", ""),
            config=config,
        )
        require_json(request)
        body = unpacked_body(request)  # a signature is that of the body as it was sent
        check_signature(body=body, signature=request.headers.get(SIGNATURE_HEADER, ""), secret=allowed.receipt_secret)
        receipt = registry.build(config)[operator].parse_receipt(in_utf_8(request, body))
        if receipt is None:
            return json_response(_IGNORED)
        if receipt.reference is None and not receipt.operator_message_id:
            raise InvalidReceipt("The receipt bears neither our reference nor the operator's id.", errors=[])
        outcome = receipt_record(Received(operator, receipt, request_id_of(request)))
        if outcome == "unknown" and receipt.reference is not None:
            raise message_missing(message_id=receipt.reference)
        return json_response(_RECORDED)
