"""Operators' delivery receipts."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from rest_framework.response import Response

from apps.sms import openapi
from apps.sms.receipts import authorize, receipt_record
from smsgateway.http import JsonView, json_body, request_id_of


class ReceiptView(JsonView):
    """`POST /v1/operators/{name}/receipts`: an operator's delivery receipt, durable before it is acknowledged."""

    @openapi.RECEIPT
    def post(self, request: HttpRequest, operator: str) -> Response:
        config = settings.CONFIG
        authorize(operator=operator, authorization=request.META.get("HTTP_AUTHORIZATION", ""), config=config)
        receipt_record(operator=operator, body=json_body(request), config=config, request_id=request_id_of(request))
        return Response({"status": "recorded"})
