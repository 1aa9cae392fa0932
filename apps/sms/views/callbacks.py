"""Callback endpoints, their secrets, and the log of what was sent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from rest_framework.response import Response

from apps.customers.authentication import CustomerView
from apps.customers.callback_endpoints import (
    endpoint_get,
    endpoint_paused_until,
    endpoint_set,
    secret_rotate,
    secrets_told,
)
from apps.customers.models import CallbackEndpoint
from apps.sms.accept.requests import decode
from apps.sms.accept.validation import of_url
from apps.sms.callbacks.enqueue import callback_replay, callback_test
from apps.sms.callbacks.schemas import EndpointRequest
from apps.sms.callbacks.selectors import callback_get, callback_told, callbacks_list, not_found
from apps.sms.models import Callback
from apps.sms.views import callbacks_openapi as openapi
from smsgateway import ids
from smsgateway.errors import InvalidRequest
from smsgateway.http import paging, query
from smsgateway.http.field_errors import MEND
from smsgateway.http.views import json_body


class EndpointView(CustomerView):
    """`GET` and `PUT /v1/customers/{id}/callback`: where the customer is called."""

    @openapi.GET
    def get(self, _request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        return Response(_told(endpoint_get(customer_id=customer_id)))

    @openapi.PUT
    def put(self, request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        wanted = decode(json_body(request), EndpointRequest, config=settings.CONFIG.sms)
        if errors := of_url("url", wanted.url):
            raise InvalidRequest(MEND, errors=errors)
        endpoint, secret = endpoint_set(
            customer_id=customer_id,
            url=wanted.url,
            statuses=list(dict.fromkeys(wanted.statuses)),
            enabled=wanted.enabled,
        )
        return Response(_told(endpoint) | ({} if secret is None else {"secret": secret}))


class RotateSecretView(CustomerView):
    """`POST /v1/customers/{id}/callback/rotate-secret`: a new secret, shown once."""

    @openapi.ROTATE
    def post(self, _request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        secret, until = secret_rotate(customer_id=customer_id)
        return Response({"secret": secret, "previous_valid_until": until})


class CallbackTestView(CustomerView):
    """`POST /v1/customers/{id}/callback/test`: a test event goes to the endpoint."""

    @openapi.TEST
    def post(self, _request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        return Response(callback_told(callback_test(customer_id=customer_id)))


class CallbacksView(CustomerView):
    """`GET /v1/customers/{id}/callbacks`: the delivery log, the newest first."""

    @openapi.LIST
    def get(self, request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        asked = query.Query(request.GET, known=("message_id", "status", *paging.PARAMETERS))
        message_id = asked.read("message_id", query.ulid)
        status = asked.read("status", query.one_of(Callback.Status.values))
        page = paging.read_page(asked)
        asked.check()
        found = list(callbacks_list(customer_id=customer_id, page=page, message_id=message_id, status=status))
        shown = found[: page.limit]
        return Response(
            {
                "callbacks": [callback_told(callback) for callback in shown],
                "next_cursor": paging.cursor(shown[-1].id.int) if len(found) > page.limit else None,
            }
        )


class ReplayView(CustomerView):
    """`POST /v1/callbacks/{id}/replay`: the callback is sent again."""

    @openapi.REPLAY
    def post(self, _request: HttpRequest, callback_id: UUID) -> Response:
        callback = callback_get(callback_id=callback_id)
        if not self.may_see(callback.customer_id):
            raise not_found(callback_id)
        return Response(callback_told(callback_replay(callback=callback)))


def _told(endpoint: CallbackEndpoint) -> dict[str, Any]:
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
            for secret in secrets_told(customer_id=endpoint.customer_id)
        ],
    }
