"""Reading messages, and canceling scheduled ones."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from rest_framework.response import Response

from apps.balance.selectors import account_get
from apps.customers.authentication import CustomerView
from apps.sms import numbers, statuses
from apps.sms.errors import MessageNotFound
from apps.sms.messages.representation import message_detail, message_summary
from apps.sms.messages.selectors import message_get, message_history, messages_list
from apps.sms.models import Message
from apps.sms.settlement.cancel import message_cancel
from apps.sms.views.openapi import messages as openapi
from smsgateway import ids
from smsgateway.http import paging, query

_KNOWN = ("customer_id", "status", "recipient", "reference", *paging.PARAMETERS)


class OwnMessageView(CustomerView):
    """A view of one message. For other customers the message does not exist."""

    def message(self, message_id: UUID) -> Message:
        """Raises MessageNotFound, MessageArchived."""
        message = message_get(message_id=message_id)
        if not self.may_see(message.customer_id):
            raise MessageNotFound(f"No message has the id {ids.to_text(message_id)}.")
        return message


class MessageView(OwnMessageView):
    """`GET /v1/sms/{id}`: a message with its status history."""

    @openapi.MESSAGE
    def get(self, _request: HttpRequest, message_id: UUID) -> Response:
        message = self.message(message_id)
        return Response(message_detail(message, history=message_history(message=message)))


class CancelView(OwnMessageView):
    """`POST /v1/sms/{id}/cancel`: cancel and refund a scheduled message."""

    @openapi.CANCEL
    def post(self, _request: HttpRequest, message_id: UUID) -> Response:
        message = self.message(message_id)
        canceled = message_cancel(message=message)
        return Response(
            {
                "id": ids.to_text(message.id),
                "status": statuses.CANCELED,
                "refunded": canceled.refunded,
                "balance": canceled.balance,
            }
        )


class MessagesView(CustomerView):
    """`GET /v1/sms`: a customer's messages, the newest first."""

    @openapi.LIST
    def get(self, request: HttpRequest) -> Response:
        parameters = query.Query(request.GET, known=_KNOWN)
        customer_id = parameters.read("customer_id", query.ulid)
        if "customer_id" not in request.GET:
            customer_id = self.speaks_for
            if customer_id is None:
                parameters.require("customer_id")
        status = parameters.read("status", query.one_of(statuses.ORDER))
        recipient = parameters.read("recipient", _recipient)
        reference = parameters.read("reference", query.text_of(200))
        page = paging.read_page(parameters)
        parameters.check()
        customer_id = cast(UUID, customer_id)
        self.require(customer_id)
        account_get(customer_id=customer_id)
        found = messages_list(
            customer_id=customer_id, page=page, status=status, recipient=recipient, reference=reference
        )
        shown = found[: page.limit]
        more = len(found) > page.limit
        return Response(
            {
                "messages": [
                    message_summary(listed.message, status=listed.status, refunded=listed.refunded) for listed in shown
                ],
                "next_cursor": paging.cursor(shown[-1].message.id.int) if more else None,
            }
        )


def _recipient(text: str) -> str:
    try:
        return numbers.plan_of(settings.CONFIG.sms).to_e164(text)
    except numbers.NotMobile as reason:
        raise query.Wrong("invalid_number", f"the number {reason}; write + as %2B") from None
