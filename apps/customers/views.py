"""A customer's callback endpoint and the secrets that sign its callbacks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from rest_framework.response import Response

from apps.customers import openapi
from apps.customers.authentication import CustomerView
from apps.customers.callback_endpoints import (
    endpoint_get,
    endpoint_paused_until,
    endpoint_set,
    secret_rotate,
    secrets_list,
)
from apps.customers.callback_urls import url_errors
from apps.customers.models import CallbackEndpoint
from apps.customers.requests import EndpointRequest
from smsgateway import ids
from smsgateway.errors import InvalidRequest
from smsgateway.http.body import decode_body
from smsgateway.http.field_errors import FIX_FIELDS, FieldError
from smsgateway.http.views import MOST_OF_ONE, json_body


class EndpointView(CustomerView):
    """`GET` and `PUT /v1/customers/{id}/callback`: the URL that the customer's callbacks go to."""

    @openapi.GET
    def get(self, _request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        return Response(_representation(endpoint_get(customer_id=customer_id)))

    @openapi.PUT
    def put(self, request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        wanted = decode_body(json_body(request, most=MOST_OF_ONE), EndpointRequest, check=_check)
        if errors := url_errors("url", wanted.url):
            raise InvalidRequest(FIX_FIELDS, errors=errors)
        endpoint, secret = endpoint_set(
            customer_id=customer_id,
            url=wanted.url,
            statuses=list(dict.fromkeys(wanted.statuses)),
            enabled=wanted.enabled,
        )
        return Response(_representation(endpoint) | ({} if secret is None else {"secret": secret}))


class RotateSecretView(CustomerView):
    """`POST /v1/customers/{id}/callback/rotate-secret`: a new secret, shown once."""

    @openapi.ROTATE
    def post(self, _request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        secret, until = secret_rotate(customer_id=customer_id)
        return Response({"secret": secret, "previous_valid_until": until})


def _check(name: str, value: Any, _document: dict[str, Any]) -> list[FieldError]:
    return url_errors("url", value) if name == "url" else []


def _representation(endpoint: CallbackEndpoint) -> dict[str, Any]:
    return {
        "customer_id": ids.to_text(endpoint.customer_id),
        "url": endpoint.url,
        "statuses": endpoint.statuses,
        "enabled": endpoint.disabled_at is None,
        "disabled_at": endpoint.disabled_at,
        "disabled_reason": endpoint.disabled_reason,
        "paused_until": endpoint_paused_until(customer_id=endpoint.customer_id),
        "secrets": [
            {"created_at": secret.created_at, "expires_at": secret.expires_at}
            for secret in secrets_list(customer_id=endpoint.customer_id)
        ],
    }
