"""Test events to callback endpoints, the log of callbacks, and replays."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest
from rest_framework.response import Response

from apps.customers.authentication import CustomerView
from apps.sms.callbacks.enqueue import callback_replay, callback_test
from apps.sms.callbacks.selectors import callback_entry, callback_get, callback_not_found, callbacks_list
from apps.sms.models import Callback
from apps.sms.views.openapi import callbacks as openapi
from smsgateway.http import paging, query


class CallbackTestView(CustomerView):
    """`POST /v1/customers/{id}/callback/test`: send a test event to the endpoint."""

    @openapi.TEST
    def post(self, _request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        return Response(callback_entry(callback_test(customer_id=customer_id)))


class CallbacksView(CustomerView):
    """`GET /v1/customers/{id}/callbacks`: the delivery log, newest first."""

    @openapi.LIST
    def get(self, request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        parameters = query.Query(request.GET, known=("message_id", "status", *paging.PARAMETERS))
        message_id = parameters.read("message_id", query.ulid)
        status = parameters.read("status", query.one_of(Callback.Status.values))
        page = paging.read_page(parameters)
        parameters.check()
        found = list(callbacks_list(customer_id=customer_id, page=page, message_id=message_id, status=status))
        shown = found[: page.limit]
        return Response(
            {
                "callbacks": [callback_entry(callback) for callback in shown],
                "next_cursor": paging.cursor(shown[-1].id.int) if len(found) > page.limit else None,
            }
        )


class ReplayView(CustomerView):
    """`POST /v1/callbacks/{id}/replay`: send the callback again."""

    @openapi.REPLAY
    def post(self, _request: HttpRequest, callback_id: UUID) -> Response:
        callback = callback_get(callback_id=callback_id)
        if not self.may_see(callback.customer_id):
            raise callback_not_found(callback_id)
        return Response(callback_entry(callback_replay(callback=callback)))
